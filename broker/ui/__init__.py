"""`mlbroker ui`: pages on loopback that follow the ledger. They read, and change nothing.

site     what is shown, remade when it has changed
server   one process of the standard library, for who has the token
"""
