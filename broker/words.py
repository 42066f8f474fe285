"""Times, counts and sizes as people say them."""


def span(seconds: float) -> str:
    """A span of time in the unit that suits it, to three digits."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 6000:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.3g} h" if seconds < 3.6e6 else f"{seconds / 3600:,.0f} h"


def figure(number: float) -> str:
    """To four digits, and never as a power of ten."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def count(number: int, what: str) -> str:
    """1 step, 2 steps."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size(of_bytes: int) -> str:
    """Of a file, in the unit that suits it."""
    return f"{of_bytes / 1e6:,.1f} MB" if of_bytes >= 1e6 else f"{of_bytes / 1e3:,.1f} kB"
