"""A stream of step times -> when it is steady, what comes back, and how long all will take."""
