"""Pictures of previews: when they are taken, and who may see them."""
