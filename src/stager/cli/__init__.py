"""The command line `stager`."""
