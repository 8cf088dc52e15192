"""Looks at this machine: its disk, its ports, its names and its certificate.

What looks at Docker, GitHub and nginx is beside what speaks with them.
"""
