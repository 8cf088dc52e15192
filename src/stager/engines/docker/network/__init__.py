"""The environments' networks, their firewall rules, and the ports on which containers listen."""
