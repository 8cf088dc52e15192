"""Forge events, decisions about them, rules for pull requests, comment commands."""
