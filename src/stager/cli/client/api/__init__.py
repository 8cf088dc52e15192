"""The server's API as the client calls it."""
