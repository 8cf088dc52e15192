"""The nodes of a swarm: connections, readiness, load, drain."""
