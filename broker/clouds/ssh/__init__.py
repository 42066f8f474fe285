"""The user's own machines over SSH: OpenSSH's client, pinned host keys, Python 3.8 on the node."""
