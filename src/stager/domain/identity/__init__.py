"""Actors, roles, accounts, and who may visit a preview."""
