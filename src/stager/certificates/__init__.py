"""Certificates by ACME (RFC 8555): orders, challenges and the folder in which the front finds the results."""
