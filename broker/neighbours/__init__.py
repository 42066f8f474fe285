"""What other tools find by a name of their own, and load."""
