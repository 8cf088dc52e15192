"""Builds images with `docker buildx`."""
