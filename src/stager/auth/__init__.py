"""Who sends a direct request: the authentication strategies."""
