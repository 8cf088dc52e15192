"""Runs commands on the server's machine: the hooks of the configuration."""
