"""The price of a change, before it is merged: diff, thresholds, formats, comments.

session, check, pairs      from a base and paths to the jobs that changed, priced
thresholds                 what a change may cost
formats/, forges/, comment  for people and machines, and where reviewers look
"""
