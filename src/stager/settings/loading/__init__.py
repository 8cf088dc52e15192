"""Reads a configuration: the YAML document, expansion, validation, and errors with their paths."""
