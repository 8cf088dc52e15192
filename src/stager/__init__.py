"""Stager: every pull request a running, isolated instance at its own URL."""
