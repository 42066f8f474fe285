"""The `nodes:` of a job file's `broker:` block: how many machines a plan may choose."""

import re
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted

# Each number is a plan of its own.
_MOST_COUNTS = 16
_LARGEST = 10_000
_EXAMPLE = "for example 1..4"


def parse_node_counts(text: str) -> tuple[int, ...]:
    """`1..4`: those numbers, both ends among them."""
    found = re.fullmatch(r"\s*([0-9]{1,5})\s*\.\.\s*([0-9]{1,5})\s*", text)
    if found is None:
        raise InputError(f"{quoted(text)} is no range of numbers of machines", hint=_EXAMPLE)
    least, most = int(found[1]), int(found[2])
    if not 1 <= least <= most <= _LARGEST:
        what = f"{quoted(text)} is no range between 1 and {_LARGEST}"
        raise InputError(what, hint=f"the smaller number first, {_EXAMPLE}")
    if most - least >= _MOST_COUNTS:
        what = f"{quoted(text)} are more than {_MOST_COUNTS} numbers of machines"
        raise InputError(what, hint="a narrower range")
    return tuple(range(least, most + 1))


def settle_nodes(
    block: Fields | None, own: dict[str, Any], said: int | None, *, stage: bool, replicas: bool
) -> int:
    """How many machines there are where nobody chooses: `said` by `num_nodes`, else the fewest.

    Of the block's `own` values the numbers lose those among which the batch cannot be divided.
    """
    counts: tuple[int, ...] = own.get("node_counts", ())
    if block is None or not counts:
        return said or 1
    others = {
        "a stage of a pipeline": stage,
        "what has replicas": replicas,
        "a study": "study" in own,
    }
    for whose in (words for words, is_one in others.items() if is_one):
        block.fail("nodes", f"is not chosen for {whose}", "leave it out: `num_nodes` says how many")
    if said is not None and said not in counts:
        what = f"`num_nodes` is {said}, which is not among them"
        block.fail("nodes", what, "a range that it is in, or leave `num_nodes` out")
    if (batch := own.get("batch")) is not None:
        shared = tuple(count for count in counts if batch.size % count == 0)
        if not shared:
            what = f"none of them divides the batch, {batch.size} samples"
            block.fail("nodes", what, "a range with a divisor of it")
        own["node_counts"] = counts = shared
    return said or counts[0]
