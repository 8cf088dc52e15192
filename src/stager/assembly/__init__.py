"""The composition of the server: from settings to a running Stager."""

from stager.assembly.server import serve, tidy

__all__ = ["serve", "tidy"]
