"""What runs instances. One package an engine; each implements the protocols of `ports.engine`."""
