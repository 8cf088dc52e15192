"""Drivers of forges, one package each."""
