"""Edge proxies: the drivers of proxies in front of the front."""
