"""What `stager doctor` looks at."""
