"""The JSON API, and the walkthrough's routes for curl."""
