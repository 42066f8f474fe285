"""What every member of a registry promises, as tests that a package outside the tree can run too.

clouds       CloudSuite: a test class, given a `Harness` for the cloud
"""
