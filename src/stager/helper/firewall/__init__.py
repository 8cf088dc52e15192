"""The firewall: rules, how they are kept in place, and what they rejected."""
