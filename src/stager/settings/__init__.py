"""`config.yml`, declared once: what may be said in it, how it is read, and how it explains itself.

`model` is the declaration (with `apps` for the entries under `images:`), `loader` reads a file into it,
`explain` turns it into the reference page and the JSON Schema, `advice` warns of what is legal yet unwise.
"""
