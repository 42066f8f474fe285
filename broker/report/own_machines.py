"""How much one's own machines were used, and whether they pay against what is for rent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from mlbroker.broker.files.nodes import Node
from mlbroker.broker.report.captured import Waiting, captured_usd
from mlbroker.broker.report.entries import Entry


@dataclass(frozen=True, slots=True)
class NodeUse:
    """One kind of node in a period: `capacity_h` hours that its places were there, `machine_h` of
    which runs held, `useful_h` of these with work that counts.

    `priced_usd` is what its runs were charged. `true_usd` is what it cost whether used or not,
    None where the nodes file does not tell. `rented_usd` is what the `compared` runs had cost on
    the best machine for rent, against `compared_usd` that they were charged.
    `idle_usd` is what the hours cost that no run held, None where the nodes file does not tell.
    `captured_usd` is what the waiting of others cost while its places were held; of that
    `avoidable_usd` is by so many `avoidable` runs that had cost less for rent, `elsewhere_usd` in
    all, than they were charged and cost others here.
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
    idle_usd: Decimal | None = None
    captured_usd: Decimal = Decimal(0)
    avoidable: int = 0
    avoidable_usd: Decimal = Decimal(0)
    elsewhere_usd: Decimal = Decimal(0)

    @property
    def idle_h(self) -> float:
        """Hours that no run held."""
        return max(self.capacity_h - self.machine_h, 0.0)

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
    found = []
    for node in nodes:
        name = node.cloud, node.name
        waits = ((w, e.value_usd_per_h) for e in runs if name in e.queues_at for w in e.waits)
        found.append(_use(node, by_node.get(name, []), hours, Waiting(waits, until)))
    return found


def _use(node: Node, runs: Sequence[Entry], hours: float, waiting: Waiting) -> NodeUse:
    captured = {e.run_id: _usd(captured_usd(e, waiting, node.count)) for e in runs if e.stays}
    compared = [entry for entry in runs if entry.succeeded and entry.rented is not None]
    dear = [e for e in compared if _rented(e) < e.spent_usd + captured.get(e.run_id, 0)]
    dear = [e for e in dear if captured.get(e.run_id)]
    machine_h = sum(entry.machine_h * entry.gang for entry in runs)
    capacity_h, fixed = hours * node.count, node.fixed_usd_per_hour
    true_usd = None
    if fixed is not None:
        running = node.running_usd_per_hour or Decimal(0)
        true_usd = fixed * Decimal(capacity_h) + running * Decimal(machine_h)
    return NodeUse(
        name=node.name,
        runs=len(runs),
        capacity_h=capacity_h,
        machine_h=machine_h,
        useful_h=sum(entry.uses_h.get("useful", 0.0) * entry.gang for entry in runs),
        priced_usd=_total(entry.spent_usd for entry in runs),
        true_usd=true_usd,
        compared=len(compared),
        compared_usd=_total(entry.spent_usd for entry in compared),
        rented_usd=_total(_rented(entry) for entry in compared),
        idle_usd=None if fixed is None else fixed * Decimal(max(capacity_h - machine_h, 0.0)),
        captured_usd=_total(captured.values()),
        avoidable=len(dear),
        avoidable_usd=_total(captured[entry.run_id] for entry in dear),
        elsewhere_usd=_total(_rented(entry) for entry in dear),
    )


def _rented(entry: Entry) -> Decimal:
    usd = Decimal(0) if entry.rented is None else entry.rented.usd
    return usd * Decimal(entry.pace)


def _usd(amount: float) -> Decimal:
    return Decimal(f"{amount:.6f}")


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
