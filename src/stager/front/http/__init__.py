"""HTTP/1.1 messages: heads, bodies, headers and cookies. No I/O."""
