"""Stand-ins for what lies outside: real servers on the loopback interface, with state and with failures."""
