"""OpenID Connect sign-in: the provider and ID tokens. The strategy is `stager.auth.oidc`."""
