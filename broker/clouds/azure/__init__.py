"""Azure: virtual machines, capped by a Logic App and by the machine itself."""
