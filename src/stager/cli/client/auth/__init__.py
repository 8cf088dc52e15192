"""Authentication strategies of the client, and where it keeps secrets."""
