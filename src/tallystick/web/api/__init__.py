"""The HTTP contracts: our own, and those of other products."""
