"""The reverse proxy: connections of clients and to upstreams, and the exchange between them."""
