"""`python -m stager` is the command `stager`."""

from stager.cli.main import main

main()
