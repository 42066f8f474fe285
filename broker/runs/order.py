"""What a run is to do and where it may: written down before anything is reserved."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.home import private_folder
from mlbroker.broker.ledger import Attempt, Run
from mlbroker.pricing.billing import Bill, WorstCase
from mlbroker.pricing.homeward import Homeward
from mlbroker.pricing.power import Draw, Supply
from mlbroker.pricing.vendors import Meter, vendor
from mlbroker.profiles.batch import Batch

# In a run's folder.
FILE = "order.json"


@dataclass(frozen=True, slots=True)
class Predicted:
    """How long the job's command was believed to take: the 10th, 50th and 90th percentile."""

    p10_s: float
    p50_s: float
    p90_s: float
    evidence: str


@dataclass(frozen=True, slots=True)
class LaunchOption:
    """One machine the run may use, billed at the price frozen when it was planned.

    A spot price moves: `max_price_per_hour_usd` is what may be paid at most for an hour of one
    machine; None where it is the frozen price.
    `supply` is what one machine draws, and from which grid; None where that is unknown.
    `disk_gb` and `image_id` are those of the job's resource option that it was planned under.
    `places` are how many of an own machine the run takes at once; the bill is of all. `home` is
    what it costs to bring home what a rented one left; None where that is free, or not reckoned.
    `batch_size` is the batch that was chosen with the machine, in samples over all nodes, and
    `lr_scale` the factor on the job's learning rate that goes with it; None: the job's own.
    """

    cloud: str
    region: str
    instance_type: str
    market: str
    bill: Bill
    zone: str | None = None
    watts: float | None = None
    gpu: bool | None = None
    expected_usd: Decimal | None = None
    carbon_kg: float | None = None
    duration_h: float | None = None
    disk_gb: int = 100
    image_id: str | None = None
    max_price_per_hour_usd: Decimal | None = None
    predicted: Predicted | None = None
    supply: Supply | None = None
    places: int = 1
    home: Homeward | None = None
    batch_size: int | None = None
    lr_scale: float | None = None

    @property
    def dearest(self) -> Bill:
        """The bill at the most that may be asked: reserved by it, and ended in time for it."""
        most = self.max_price_per_hour_usd
        return self.bill if most is None else replace(self.bill, price_per_hour_usd=most)

    def worst_case(self, cap_usd: Decimal, slack_s: float, step_s: int) -> WorstCase | None:
        """As `Bill.worst_case`, at its dearest, with the allowance for what is brought home."""
        allowance = Decimal(0) if self.home is None else self.home.allowance_usd(cap_usd)
        worst = self.dearest.worst_case(cap_usd - allowance, slack_s, step_s)
        if worst is None:
            return None
        return WorstCase(worst.lifetime_s, worst.usd + allowance, allowance)

    @property
    def nodes(self) -> int:
        """How many equal machines the run has."""
        return self.bill.nodes

    @property
    def price_per_hour_usd(self) -> Decimal:
        """Of one machine."""
        return self.bill.price_per_hour_usd


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    """What was believed of a zone's machines and outages at the launch, as `hazards.Record`s."""

    preempted: tuple[float, float] = (0.0, 0.0)
    recovered: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class SpotTerms:
    """Under what the run's spot policy decides, for machines of one type. Hours.

    `work_h` is how long the job works, with the confidence that was asked for; the rest is as in
    `policies.spot.interface.Terms`. `zones` are by name. Budget and deadline are the run's own.
    """

    policy: str
    work_h: float
    restart_h: float
    tick_h: float
    lost_h: float
    zones: Mapping[str, ZoneRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdaptTerms:
    """How the run may adapt: `how` is a `profiles.batch.Adapt`. `step_s` are seconds of a step by
    batch, as they were measured on a machine of that type.
    """

    how: str
    step_s: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """Everything any process needs to carry the run on, save the values of secrets.

    `guest_late_s` is as in Intent, and counts under the cap as the kill slack does. `identity` is
    what the job was, as `evidence.facts` has it; None where the run says nothing of a job. With
    `spot` a policy says which of the candidates, all of one type, comes next, and when. `policy` is
    the policy file, asked again when a run that queued starts. `batch` is what the job file says of
    its batch: by which variables an attempt is told another; with `adapt` it may be changed.
    """

    run_id: str
    job: str
    candidates: tuple[LaunchOption, ...]
    spec: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    steps: int | None = None
    deadline_at: str | None = None
    on_overrun: str | None = None
    guest_late_s: int = 0
    identity: Mapping[str, str] | None = None
    spot: SpotTerms | None = None
    policy: str | None = None
    batch: Batch | None = None
    adapt: AdaptTerms | None = None

    def candidate(self, attempt: Attempt) -> LaunchOption:
        """The candidate an attempt was made with."""
        for candidate in self.candidates:
            if place_of(candidate) == place_of(attempt):
                return candidate
        raise MlbrokerError(f"attempt {attempt.number} is of no candidate of its order")

    def faster_than(self, attempt: Attempt) -> list[LaunchOption]:
        """The candidates on which the job is expected to take less time than on this attempt's."""
        now = self.candidate(attempt).duration_h
        if now is None:
            return []
        return [c for c in self.candidates if c.duration_h is not None and c.duration_h < now]

    def digest(self) -> str:
        """The hash the ledger keeps, so that an order cannot be changed under a run."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write it durably."""
        private_folder(str(folder))
        with open(folder / FILE, "w", encoding="utf-8") as file:
            file.write(self._text())
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, folder: Path, digest: str) -> "Order":
        """Read it back, and hold it to the ledger's hash."""
        path = folder / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise MlbrokerError(f"the run's order is gone: {error}", where=str(path)) from error
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise MlbrokerError(
                "the run's order was changed after it was reserved", where=str(path)
            )
        raw = json.loads(text)
        # Earlier releases wrote one disk and image down for all candidates.
        shared = {name: raw.pop(name) for name in ("disk_gb", "image_id") if name in raw}
        raw["candidates"] = tuple(_candidate(shared | c) for c in raw["candidates"])
        raw["secrets"] = tuple(raw["secrets"])
        raw["spot"] = raw.get("spot") and _spot(raw["spot"])
        raw["batch"] = raw.get("batch") and Batch.of(raw["batch"])
        raw["adapt"] = raw.get("adapt") and _adapt(raw["adapt"])
        return cls(**raw)

    def _text(self) -> str:
        raw = asdict(self) | {"batch": self.batch and self.batch.document()}
        return json.dumps(raw, sort_keys=True, default=str)


def zone_name(at: LaunchOption) -> str:
    """A zone, or the region where its cloud has none."""
    return at.zone or at.region


def place_of(at: LaunchOption | Attempt) -> tuple[str, str, str | None, str, str]:
    """What tells one machine for sale from another."""
    return at.cloud, at.region, at.zone, at.instance_type, at.market


def wished_place(to: Mapping[str, Any]) -> tuple[str, str, str | None, str, str]:
    """The same of what a run is to go on with: see `Run.adapts_to`."""
    return to["cloud"], to["region"], to["zone"], to["instance_type"], to["market"]


def as_told(run: Run, option: LaunchOption) -> LaunchOption:
    """The option with the batch that the run has come to there: the one it is to go on with, else
    that of its last attempt on such a machine.
    """
    to = run.adapts_to
    if to is not None and wished_place(to) == place_of(option):
        return replace(option, batch_size=to["batch_size"], lr_scale=to["lr_scale"])
    for attempt in reversed(run.attempts):
        if kind_of(attempt) == kind_of(option) and attempt.batch_size is not None:
            return replace(option, batch_size=attempt.batch_size, lr_scale=attempt.lr_scale)
    return option


def kind_of(at: LaunchOption | Attempt) -> tuple[str, str, str, str]:
    """What tells them apart, whatever the zone."""
    return at.cloud, at.region, at.instance_type, at.market


def _candidate(raw: dict[str, Any]) -> LaunchOption:
    bill = raw.get("bill")
    raw["bill"] = _bill_before_meters(raw) if bill is None else _bill(bill)
    for name in ("expected_usd", "max_price_per_hour_usd"):
        usd = raw.get(name)
        raw[name] = None if usd is None else Decimal(usd)
    if raw.get("predicted") is not None:
        raw["predicted"] = Predicted(**raw["predicted"])
    if raw.get("home") is not None:
        raw["home"] = Homeward(*map(Decimal, raw["home"]))
    if (supply := raw.get("supply")) is not None:
        raw["supply"] = Supply(**supply | {"draw": Draw(**supply["draw"])})
    return LaunchOption(**raw)


def _adapt(raw: dict[str, Any]) -> AdaptTerms:
    steps = {name: tuple(map(tuple, rows)) for name, rows in raw["step_s"].items()}
    return AdaptTerms(raw["how"], steps)


def _spot(raw: dict[str, Any]) -> SpotTerms:
    zones = {
        name: ZoneRecord(tuple(record["preempted"]), tuple(record["recovered"]))
        for name, record in raw.pop("zones").items()
    }
    return SpotTerms(zones=zones, **raw)


def _bill(raw: dict[str, Any]) -> Bill:
    meter = Meter(**{name: Decimal(seconds) for name, seconds in raw.pop("meter").items()})
    nodes = raw.pop("nodes")
    return Bill(nodes=nodes, meter=meter, **{name: Decimal(usd) for name, usd in raw.items()})


def _bill_before_meters(raw: dict[str, Any]) -> Bill:
    """Of an order written before orders carried their meter: its run may still be open."""
    nodes = raw.pop("nodes")
    return Bill(
        Decimal(raw.pop("price_per_hour_usd")),
        nodes,
        # Disks were then reckoned by the second everywhere.
        Meter(vendor(raw["cloud"]).meter.minimum_s),
        disk_usd_per_hour=Decimal(raw.pop("extra_per_hour_usd")) / nodes,
        once_usd=Decimal(raw.pop("fixed_usd")),
    )
