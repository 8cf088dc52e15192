"""Tests that take many minutes. `scripts/soak` runs them, not `scripts/test`."""
