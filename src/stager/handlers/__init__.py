"""The built-in request handlers, chosen by name in the configuration; templates for your own."""
