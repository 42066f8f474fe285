"""A service's guard: what it knows on disk, its money in the ledger, and one look after the other.

journal   the looks so far, and the lock of the one guard of a service
books     the reservations that the leases are made from
guard     a look: see, decide, reserve, write down, tell the engine
"""
