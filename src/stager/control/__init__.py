"""What Stager does: it takes wishes in, and brings what is to what should be. It knows ports, no drivers."""
