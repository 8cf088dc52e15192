"""`stager swarm` and `stager node`: several machines in one swarm."""
