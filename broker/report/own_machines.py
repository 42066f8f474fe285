"""How much one's own machines were used, and whether they pay against what is for rent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from mlbroker.broker.files.nodes import Node
from mlbroker.broker.report.entries import Entry


@dataclass(frozen=True, slots=True)
class NodeUse:
    """One kind of node in a period: `capacity_h` hours that its places were there, `machine_h` of
    which runs held, `useful_h` of these with work that counts.

    `priced_usd` is what its runs were charged. `true_usd` is what it cost whether used or not,
    None where the nodes file does not tell. `rented_usd` is what the `compared` runs had cost on
    the best machine for rent, against `compared_usd` that they were charged.
    """

    name: str
    runs: int
    capacity_h: float
    machine_h: float
    useful_h: float
    priced_usd: Decimal
    true_usd: Decimal | None
    compared: int
    compared_usd: Decimal
    rented_usd: Decimal

    @property
    def used(self) -> float:
        """The share of its hours that runs held."""
        return self.machine_h / self.capacity_h if self.capacity_h else 0.0

    @property
    def usd_per_useful_hour(self) -> Decimal | None:
        """What an hour of work that counts cost: by what it cost anyway, where that is known."""
        if not self.useful_h:
            return None
        cost = self.priced_usd if self.true_usd is None else self.true_usd
        return cost / Decimal(self.useful_h)


def node_uses(
    nodes: Sequence[Node], runs: Sequence[Entry], since: datetime, until: datetime
) -> list[NodeUse]:
    """Of each node of the file, by the runs that count in the period."""
    by_node: dict[tuple[str, str], list[Entry]] = {}
    for entry in runs:
        if since <= entry.at < until:
            by_node.setdefault((entry.cloud, entry.instance_type), []).append(entry)
    hours = max(0.0, (until - since) / timedelta(hours=1))
    return [_use(node, by_node.get((node.cloud, node.name), []), hours) for node in nodes]


def _use(node: Node, runs: Sequence[Entry], hours: float) -> NodeUse:
    compared = [entry for entry in runs if entry.succeeded and entry.rented is not None]
    machine_h = sum(entry.machine_h for entry in runs)
    fixed = node.fixed_usd_per_hour
    true_usd = None
    if fixed is not None:
        running = node.running_usd_per_hour or Decimal(0)
        true_usd = fixed * Decimal(hours) * node.count + running * Decimal(machine_h)
    return NodeUse(
        name=node.name,
        runs=len(runs),
        capacity_h=hours * node.count,
        machine_h=machine_h,
        useful_h=sum(entry.uses_h.get("useful", 0.0) for entry in runs),
        priced_usd=_total(entry.spent_usd for entry in runs),
        true_usd=true_usd,
        compared=len(compared),
        compared_usd=_total(entry.spent_usd for entry in compared),
        rented_usd=_total(_rented(entry) for entry in compared),
    )


def _rented(entry: Entry) -> Decimal:
    usd = Decimal(0) if entry.rented is None else entry.rented.usd
    return usd * Decimal(entry.pace)


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
