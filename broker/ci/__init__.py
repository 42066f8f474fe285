"""The price of a change, before it is merged: diff, thresholds, formats, comments.

session, pairs, changes     from a base and paths to the jobs that changed, priced
check                       what they come to, and the limits they cross
formats/, forges/, comment  for people and machines, and where reviewers look
"""
