"""What control sees of the world: protocols, split by use, which drivers implement."""
