"""What is said of several engines."""

from mlbroker.broker.engines.interface import Ceiling

POD = (
    "A replica is reckoned at the price of a machine of its own: what the cluster adds beside them"
    " is paid for on top"
)


def turns_nobody_away(engine: str, ceiling: Ceiling) -> str:
    """Of an engine that has no queue with an end."""
    return (
        f"{engine} turns nobody away: above the ceiling its queue grows until nobody is in time."
        " Let what stands before it answer 429 with Retry-After once"
        f" {ceiling.queue_per_replica} requests wait for each replica"
    )
