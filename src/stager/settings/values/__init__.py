"""Types of single values: durations, sizes, addresses, patterns, secrets."""
