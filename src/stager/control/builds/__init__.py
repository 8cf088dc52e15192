"""Images of deployments: resolution, the build queue, and garbage collection."""
