"""Implementations of the ports in memory. They pass the same contract tests as the drivers."""
