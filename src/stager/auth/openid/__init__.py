"""OpenID Connect, as far as it takes to have somebody sign in: `oidc` beside it is the strategy."""
