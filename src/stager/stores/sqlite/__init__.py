"""The store in one SQLite file.

`store` runs transactions, each in the thread that owns its connection; `transaction` and `accounts` contain
the SQL; `rows` converts domain objects to rows and back; `schema` declares the tables, and `migrations`
upgrades older databases to it; `database` opens and checks the file; `errors` translates SQLite's errors.

`assembly` opens the store. The light client imports nothing of this package.
"""
