"""The configuration, `config.yml`: each setting is declared and documented once.

`model` puts the sections together, `sections` declares them by task, `values` the types of single values.
`loading` loads and validates a file, `plugins` adds the settings of pluggable classes. `reference_page`
generates the reference pages, `schema` the JSON Schema.
"""
