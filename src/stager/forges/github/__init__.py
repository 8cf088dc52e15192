"""GitHub and GitHub Enterprise Server: webhooks, REST API, sign-in, and the setup of a GitHub App.

Wire formats are read by pure functions (`signature`, `payloads`, `responses`, `problems`).
"""
