"""How long after a request to the bucket the next one comes: machine and client wait so."""


def wait_s(shortest_s: float, longest_s: float, slowing: float, age_s: float) -> float:
    """Short while a run is young and may fail, long in the hours after: each request is paid."""
    return min(longest_s, max(shortest_s, age_s / slowing))
