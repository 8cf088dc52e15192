"""Events of forges, rules for pull requests, comment commands."""
