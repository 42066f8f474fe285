"""Loads numpy for small matrices: its threads would only get in each other's way."""

import os

THREADS = "OPENBLAS_NUM_THREADS"


def load_numpy() -> None:
    """Import numpy with one thread, without a trace in the environment that jobs inherit."""
    given = os.environ.get(THREADS)
    if given is None:
        os.environ[THREADS] = "1"
    import numpy  # noqa: F401  # imported for its effect: the threads are started by it

    if given is None:
        del os.environ[THREADS]
