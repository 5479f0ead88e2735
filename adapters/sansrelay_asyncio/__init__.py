"""The asyncio adapter, to come: until then use `sansrelay_trio`, or drive `RelayConnection`."""
