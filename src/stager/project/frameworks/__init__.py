"""Detection of frameworks by a repository's own files, and the Dockerfiles that are generated for them.

A module per language has `detect(tree)`. A generated Dockerfile contains nothing of the repository but names
that match a narrow pattern, and commands in the JSON form of `CMD`, which run in the application's container
only.
"""
