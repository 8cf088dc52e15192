"""The memory of paused containers, which is moved to swap."""
