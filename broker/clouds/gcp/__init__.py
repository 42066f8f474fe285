"""Google Cloud: Compute Engine machines, capped by Google and by the machine itself."""
