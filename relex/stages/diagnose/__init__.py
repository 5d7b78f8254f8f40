"""Stage diagnose: how far a forecast can be trusted. May import window and everything below it."""
