"""GitHub by doubles of other authors, as far as they go; what they can't do is a skip that says so."""
