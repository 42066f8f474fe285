"""What some runs of a job, and past jobs, say about its run time on other machines.

A Gaussian process on log time: `space` places configurations by their features, `kernel` says how
alike two of them are, `history` turns past jobs into a mean profile and the ways jobs deviate from
it, `fit` learns how much each of these counts, and `belief` is the state of knowledge about one
job after some measurements.

These modules import numpy when they are imported; whoever uses them imports them inside functions.
"""
