"""GitHub's webhook deliveries: signature, payloads and the events read from them. No I/O."""
