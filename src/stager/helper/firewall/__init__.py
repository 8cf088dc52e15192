"""The firewall: its rules, their enforcement, and the log of rejected packets."""
