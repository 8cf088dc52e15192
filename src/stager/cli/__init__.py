"""The command `stager`: what people type, and what they are told."""
