"""What becomes of a run when an attempt is refused or over: its name, the next place, the end."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from mlbroker.broker.clouds.interface import Denied, Intent, NoCapacity, NoQuota, Unfit
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Attempt, Run
from mlbroker.broker.ledger.state import ADAPT, YIELD
from mlbroker.broker.runs.order import LaunchOption, Order, kind_of, place_of, wished_place
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor

_REFUSALS: dict[type[CloudError], str] = {
    NoCapacity: "no_capacity",
    NoQuota: "no_quota",
    Denied: "denied",
    Unfit: "unfit",
}
# No for this account or anywhere: not asked again.
_NEVER = {"no_quota", "unfit"}
_OUTCOMES = {
    "finished": "succeeded",
    "failed": "failed",
    "setup_failed": "failed",
    "capped": "capped",
    "stopped": "stopped",
    "idle": "stopped",
    "overrun": "stopped",
    "move": "stopped",
    ADAPT: "stopped",
    YIELD: "stopped",
    "preempted": "preempted",
    "machine_failed": "machine_failed",
    "lost": "lost",
    "not_placed": "not_launched",
}
TRY_ELSEWHERE = {
    "no_capacity", "no_quota", "unfit", "preempted", "machine_failed", "not_placed", "move", ADAPT,
    YIELD,
}  # fmt: skip

MAX_ATTEMPTS = 12
# A spot policy asks zones again and again, and shells hold it to deadline and budget.
MAX_STEERED_ATTEMPTS = 500


def goes_on(run: Run, order: Order) -> bool:
    """Whether another attempt follows, of a run whose last one is over."""
    steered = order.spot is not None
    most = MAX_STEERED_ATTEMPTS if steered else MAX_ATTEMPTS
    # Azure deletes spot machines that it takes, so that one that vanished was most likely taken:
    # under a policy, which promises a deadline, the job goes on.
    taken = steered and run.attempt.why == "lost" and run.attempt.market == Market.SPOT
    again = taken or run.attempt.why in TRY_ELSEWHERE
    wanted = again and run.stop_requested in (None, "move", ADAPT, YIELD)
    # A policy waits for what says no; what is never to be had is not waited for.
    left = not steered or bool(ever_to_be_had(run, order))
    return wanted and left and sum(map(_counts, run.attempts)) < most


def _counts(attempt: Attempt) -> bool:
    """Not where another was quicker at a place of the user's own, or was let pass; nor where there
    was no spot machine, as those on demand come behind all of these; nor what ended to go on with
    another batch, which is held to its own measure.
    """
    spot = attempt.market == Market.SPOT
    raced = attempt.why == "no_capacity" and (spot or vendor(attempt.cloud).own)
    return not raced and attempt.why not in (YIELD, ADAPT)


def ever_to_be_had(run: Run, order: Order) -> list[LaunchOption]:
    """All candidates but those that this account or region will not have in this run."""
    never = {kind_of(attempt) for attempt in run.attempts if attempt.why in _NEVER}
    return [option for option in order.candidates if kind_of(option) not in never]


def next_option(run: Run, order: Order, queues: Callable[[str], bool]) -> LaunchOption | None:
    """In the plan's order, those that said no in this run last or never.

    `queues(cloud)`: whether jobs wait there, so that a no was only for the moment.
    """
    tried = [place_of(attempt) for attempt in run.attempts]
    refused = {place_of(attempt) for attempt in run.attempts if attempt.machine_id is None}
    left = [c for c in order.candidates if place_of(c) not in refused or queues(c.cloud)]
    # What a region will not have of a type, none of its zones has.
    unfit = {kind_of(attempt) for attempt in run.attempts if attempt.why == "unfit"}
    left = [c for c in left if kind_of(c) not in unfit]
    why = run.attempt.why if run.attempts else None
    if why in ("machine_failed", "not_placed"):
        left = [c for c in left if place_of(c) not in tried]
    if why == "move":
        faster = {place_of(c) for c in order.faster_than(run.attempt)}
        left = [c for c in left if place_of(c) in faster]
    wished = run.adapts_to and wished_place(run.adapts_to)
    return min(left, key=lambda c: (place_of(c) != wished, tried.count(place_of(c))), default=None)


def outcome_of(run: Run) -> str:
    """What the last attempt's end makes of the whole run."""
    why = run.attempt.why if run.attempts else None
    if why == "abandoned":
        return why
    launched = any(attempt.machine_id for attempt in run.attempts)
    if run.stop_requested == "stopped" and not launched:
        return "stopped"
    return _OUTCOMES.get(why or "", "not_finished" if launched else "not_launched")


def refusal_of(error: CloudError) -> str:
    """What the ledger calls a create that gave no machine."""
    return _REFUSALS.get(type(error), "unclear")


def remember_shortage(home: Path, intent: Intent, error: CloudError, now: datetime) -> None:
    """Plans look elsewhere for a while. The user's own machines are waited for instead."""
    if not isinstance(error, NoCapacity) or vendor(intent.cloud).own:
        return
    from mlbroker.broker.prices import shortages

    spot = intent.market == Market.SPOT
    place = (intent.cloud, intent.region, intent.zone, intent.instance_type, spot)
    shortages.remember(home, shortages.Shortage(*place, at=now, detail=str(error)))
