"""Cookies, CSRF protection, OAuth state, and sign-in to private previews."""
