"""Many stages, one deadline, one budget: a machine for each, so that the whole costs least."""
