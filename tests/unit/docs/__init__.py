"""Tests of the documentation: its samples are valid, its links have targets, its lists are complete."""
