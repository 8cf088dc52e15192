"""Reports of environments in the forge's own places: comments, deployments and commit statuses."""
