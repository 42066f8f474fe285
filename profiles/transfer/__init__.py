"""What some runs of a job, and past jobs, say about its run time on other machines.

A Gaussian process on log time. numpy is imported with these modules: import them inside functions.
space, kernel       configurations by their features, and how alike two of them are
history, fit        past jobs: a mean profile and ways to deviate from it; what likeness counts
belief              what is known of one job after some measurements, and where it may fail
"""

# Notation. Log times are natural logarithms of seconds, up to a job's scale; variances are of them.
#
#   N      configurations of a space: machine types, clusters of them, batch sizes
#   C      candidates of the job in question, the configurations that may be chosen: a Space too
#   D      features, after each was standardised
#   J      past jobs; cases are J + 1: the job is like no single past one, or just like one of them
#   H      cases that are still likely, at most belief.MAX_CASES
#   K      what was observed of the job so far, hints included
#   R      configurations that one past job ran on
#   P      configurations of one lesson, at most fit.MAX_POINTS
#
#   x         (N, D)      standardised features: mean 0, spread 1
#   kind      (N,)        number of the machine type; family (N,) of the type without its size
#   expected  (N,)        log time from specifications alone, centred; doubt (N,) scales its spread
#   capacity  (<= D,)     columns of x that say how much fits
#   rows      (R,)        of a past job, with log_times (R,); failed: the rows where it failed
#   known     (N,)        how far a completed job's log_times (N,) are measured, from 1 to 0
#   mean      (C,)        expected log time of the job; failure (C,) its chance to fail
#   factors   (J, C)      directions in which jobs deviate from the mean
#   offsets   (J + 1, C)  what each case adds to the mean; chances (J + 1,) before any observation
#   weights   (H,)        chances of the cases now, with means (H, C)
#   within    (C,)        variance in any case; variance (C,) over all of them
