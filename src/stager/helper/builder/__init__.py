"""The builder for untrusted code: its process, sandbox, disk, network link and engine."""
