"""`python -m sansrelay_apps` is `sansrelay`."""

from .cli import main

main()
