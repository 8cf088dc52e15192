"""Routes for forges: webhooks, the local forge's push hook, and git over HTTP."""
