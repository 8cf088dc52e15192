"""GitHub's REST API: authentication, requests, and what each part of Stager asks."""
