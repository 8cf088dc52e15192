"""What a repository's own files say about the application in it: how to build it, its port, its variables.

Pure: reads files below one folder, runs nothing, and imports the standard library and PyYAML only. The files
are untrusted: every reader is limited in size, and what can't be read counts as missing.
"""
