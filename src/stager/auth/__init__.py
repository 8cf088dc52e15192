"""The authentication strategies."""
