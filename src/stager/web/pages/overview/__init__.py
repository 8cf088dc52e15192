"""The parts of the dashboard: the selection, the numbers, the machine, and the public list."""
