"""Installs Stager as systemd services on this machine."""
