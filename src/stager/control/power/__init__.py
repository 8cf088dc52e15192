"""Loops that put idle previews to sleep and take their memory back."""
