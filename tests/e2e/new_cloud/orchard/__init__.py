"""Orchard: machines of a small vendor, capped by the vendor itself and by the machine."""
