"""Generated from proto/ by `make proto`; only sansrelay.codec imports it."""
