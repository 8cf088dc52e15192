"""Client of GitHub's REST API: authentication, requests and responses."""
