"""`python -m allocentric.cli` is `allocentric`."""

from allocentric.cli import main

main()
