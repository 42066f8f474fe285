"""Starts a service, and loads it: an open loop of requests, each counted from when it was due.

Told what to do by a line of JSON on its standard input, answers by lines on its output. Standard
library only, Python 3.8 and later.
"""
