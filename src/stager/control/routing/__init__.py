"""URLs, the route table and who may visit it, edge proxies and ingress ports."""
