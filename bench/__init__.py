"""Measures Stager against its budgets: each figure next to its floor, taken in the same run."""
