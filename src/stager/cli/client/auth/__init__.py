"""Authentication strategies of the client, and its secret store."""
