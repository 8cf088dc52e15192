"""Invokes handlers and strategies: lifecycle hooks and `action=` calls."""
