"""The builder for untrusted code: its process, sandbox, disk, network and engine."""
