"""External resources: what an application's server hooks create for its previews."""
