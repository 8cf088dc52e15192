"""The root helper: a separate program for the few operations of Stager that need root.

It imports only the standard library and its own modules, so that the code that runs as root is small enough
to review. Stager calls it with `stager.helper_client`.
"""
