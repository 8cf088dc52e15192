"""Stager's HTTP API and pages."""
