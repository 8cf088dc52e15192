"""What the front and its clients agree on: the clients import none of the front's own code."""

PROTOCOL = 6
"""The version of the messages of the control socket. A front with another one is replaced."""
MAX_LINE_BYTES = 256 << 20
"""The longest message of the control socket."""
