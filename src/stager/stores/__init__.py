"""Drivers that remember."""
