"""`stager swarm` and `stager node`."""
