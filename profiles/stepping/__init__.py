"""A stream of step times -> when it is steady, what comes back, and how long all will take.

stream, steady             who counted, and the estimate made of it
periods                    work that comes back every so many steps
changepoint, pace_models   where the warm-up ends, and the models of the pace to come
forecast, stopping         how long the rest takes, and when enough was seen
"""

# Notation.
#
#   E   events seen, each with the count of steps done by then; E - 1 intervals lie between them
#   B   blocks of neighbouring intervals, at most changepoint.MAX_BLOCKS
#
#   times_s  (E,)      seconds since the start of the job, growing; counts (E,) steps done by then
#   plain_s  (E - 1,)  seconds of an interval without extras; odd_s (E - 1,) extras without rhythm
#   step_s   (B,)      mean seconds a step in each block, around step centre (B,)
