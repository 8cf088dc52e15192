"""The sections of `config.yml`."""
