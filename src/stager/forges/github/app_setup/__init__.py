"""Creates a GitHub App from a manifest and stores its credentials."""
