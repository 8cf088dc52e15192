"""`stager up`: previews a local folder while the command runs.

`build_choice` decides what is built, `run_choice` on which port and with which command it runs, `variables`
with which environment variables; `preparation` puts these together, and `session` runs the server.
"""
