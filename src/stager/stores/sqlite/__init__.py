"""Remembers in one SQLite file.

`store` runs transactions, each in the thread that owns its connection; `transaction` says them in SQL; `rows`
turns domain objects into rows and back; `schema` declares the tables, and `migrations` brings older ones up
to it; `opening` looks at a file before anything is written to it; `endings` puts SQLite's errors into ours.

`assembly` opens the store. Nothing here is imported by the light client.
"""
