"""Resolves a deployment's image: the build queue and the garbage collection of images."""
