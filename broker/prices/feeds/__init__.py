"""Live prices from the vendors. Adding a feed: one file, one entry in FEEDS."""
