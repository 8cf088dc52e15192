"""The root helper: the few things that Stager needs root for, as a program of its own.

It imports the standard library and its own modules only, so that the code that runs as root is small enough
to be read at once. Stager speaks with it through `stager.helper_client`.
"""
