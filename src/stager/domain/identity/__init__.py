"""Actors, roles, accounts, client addresses, and access to private previews."""
