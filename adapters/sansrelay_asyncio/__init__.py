"""The asyncio adapter. Not written yet: use `sansrelay_trio`, or drive `RelayConnection` by hand."""
