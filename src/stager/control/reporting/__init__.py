"""Reports to the forge: pull-request comments, deployments and commit statuses."""
