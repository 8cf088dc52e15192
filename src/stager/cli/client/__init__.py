"""The client commands, which run on any machine and import none of the server's libraries."""
