"""The data pool: volumes and snapshots of previews on a file system with copy-on-write."""
