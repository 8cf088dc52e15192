"""MCP at `/mcp`: tools for coding agents. Only `server` imports the `mcp` package, at the first request."""
