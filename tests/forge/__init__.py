"""GitHub by doubles that nobody here wrote, as far as they go; what they can't do is a skip that says so."""
