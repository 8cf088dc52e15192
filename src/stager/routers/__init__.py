"""What may stand before the front, and how it is told about previews."""
