"""Where pull requests live: one package for each forge."""
