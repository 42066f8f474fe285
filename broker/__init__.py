"""Everything that touches the world: the shell around pricing, profiles and policies.

cli/, app/              the command line, and what it asks for: a request in, a value out
prices/, measure/, ci/  the price book, measuring a job, the check of a change
runs/, ledger/          carrying a run from reservation to settlement, and the books
clouds/, guest/         where machines are made, and the program that runs on them
files/, errors          what users write, read strictly; every way to end badly
"""
