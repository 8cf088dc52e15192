"""Networks of environments, their firewall rules, and the ports that listen in them."""
