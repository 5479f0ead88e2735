"""`python -m sansrelay_apps` is `sansrelay`."""

from .entry import main

main()
