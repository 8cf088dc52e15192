"""Handlers and strategies in the configuration."""
