"""GitHub, and GitHub Enterprise Server: what it sends (`webhooks`) and what it is asked and told (`client`).

Wire formats are read by pure functions (`signature`, `payloads`, `problems`); only `rest` does I/O.
"""
