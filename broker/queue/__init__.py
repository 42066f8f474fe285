"""The queue at the machines of the user's own: what the ledger says of it, as policies see it."""
