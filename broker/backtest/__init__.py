"""The choice, tried on a table of measured runs: what it would have cost, and what others would."""
