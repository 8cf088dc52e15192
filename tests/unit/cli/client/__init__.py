"""The client commands, against a real server over a house of fakes."""
