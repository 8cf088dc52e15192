"""What belongs to the page of one preview: its actions, its deployments and its logs."""
