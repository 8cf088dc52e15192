"""The client commands, against a real server over a harness of fakes."""
