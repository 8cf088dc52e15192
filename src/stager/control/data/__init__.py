"""Snapshots of volumes: how they are made, kept and used."""
