"""Brings what is to what should be: one worker for each environment, and the controller that owns them."""
