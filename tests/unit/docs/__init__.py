"""The documentation is true: its samples run, its links lead somewhere, its lists are complete."""
