"""The composition of the server: from settings to a running Stager, by `server.serve`."""
