"""Checks of this machine: its disk, ports, DNS, certificate and root helper.

The checks of Docker, GitHub and nginx are in their drivers.
"""
