"""The engine that the settings name, one module for each."""
