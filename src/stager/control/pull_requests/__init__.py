"""From forge events to desired state: webhooks, listeners, policy, comment commands and resync."""
