"""Creates a GitHub App from a manifest, and keeps its key."""
