"""Stager's own pages and API. It reads requests, calls control, and puts the answer into words."""
