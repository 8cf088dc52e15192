"""Loads a configuration: parsing, expansion of references, validation, errors with their paths."""
