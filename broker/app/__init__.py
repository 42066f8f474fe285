"""What mlbroker does, without a terminal: a request in, a value out, failures from the error tree.

plan run profile check   the services; each reads what it needs, asks the core, returns a value
sources                  what a decision is made from, and the names in it that nobody knows
listener                 whom a service tells what must be said on the way
"""
