"""Commands and queries on environments, and the desired state that they change."""
