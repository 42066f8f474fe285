"""The price book: what ships with the package, what was fetched, and what the user knows."""
