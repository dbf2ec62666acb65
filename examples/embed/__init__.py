"""A product that shows its customers their own part of the log, in a page of its own."""
