"""Docker Swarm: previews run as services on several nodes."""
