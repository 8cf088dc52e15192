"""Client of the server's API."""
