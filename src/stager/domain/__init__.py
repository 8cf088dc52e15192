"""What an environment is, and what should happen to it next.

Nothing here does I/O, reads a clock or draws a random number; only the standard library is imported.
"""
