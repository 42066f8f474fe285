"""What one job costs at one context, as `check` shows, saves and compares it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mlbroker.broker.errors import InputError
from mlbroker.broker.plan_document import quote_document, replicas_document
from mlbroker.broker.words import exact_usd_or_none
from mlbroker.policies.quote import Cost, Quote
from mlbroker.policies.tuning.size import StudySize
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Replicas
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis, Quantiles

T = TypeVar("T")
V = TypeVar("V")
_SAVED_HINT = "write one with `mlbroker check --format json --output FILE`"
_COST = ("expected", "p90", "compute", "storage", "network", "interruptions")


class Inputs(NamedTuple):
    """Digests of what a price was worked out from: equal digests, equal inputs."""

    job: str
    measurements: str
    policy: str


@dataclass(frozen=True, slots=True)
class PricedJob:
    """A job's choice, or why there is none (`problem`), and what it was worked out from.

    `forbidden` is the rule of the policy file that even the best machine breaks; the choice is
    then the one without the policy. `unjudged` are its rules that need to know what a run costs or
    emits, where nobody does. Of a `study`, `quote` is of one whole trial.
    """

    quote: Quote | None
    problem: str | None
    deadline_s: float | None
    runs_per_month: int | None
    inputs: Inputs
    forbidden: str | None = None
    unjudged: tuple[str, ...] = ()
    replicas: Replicas | None = None
    study: StudySize | None = None

    @property
    def unknown(self) -> bool:
        """Whether there is a machine, and nobody knows what a run of the job costs on it."""
        return self.quote is not None and self.cost_usd is None and self.replicas is None

    @property
    def cost_usd(self) -> Decimal | None:
        """Expected cost of one run, of a study that of all its trials."""
        cost = None if self.quote is None else self.quote.cost_usd
        once = None if cost is None else cost.expected
        return once if self.study is None else self.study.expected_usd(once)

    @property
    def unit(self) -> str:
        """What `cost_usd` is the cost of."""
        return "run" if self.study is None else "study"

    @property
    def monthly_usd(self) -> Decimal | None:
        """Expected cost of a month's runs, None when their number is not stated.

        Of a service or a pool it is what the most replicas cost.
        """
        if self.quote is not None and self.replicas is not None:
            return self.replicas.monthly_usd(self.quote.hourly_usd)[1]
        if self.cost_usd is None or self.runs_per_month is None:
            return None
        return self.cost_usd * self.runs_per_month

    @property
    def compared_usd(self) -> Decimal | None:
        """What a change is judged by: the cost of a run, or of a month where nothing ends."""
        return self.cost_usd if self.replicas is None else self.monthly_usd

    @property
    def carbon_kg(self) -> float | None:
        """CO2e of one run, of a study in proportion to its cost."""
        quote = self.quote
        if quote is None or quote.carbon_kgco2e is None or self.study is None:
            return None if quote is None else quote.carbon_kgco2e
        if quote.cost_usd is None or not quote.cost_usd.expected or self.cost_usd is None:
            return None
        return quote.carbon_kgco2e * float(self.cost_usd / quote.cost_usd.expected)


class PreviousCheck(NamedTuple):
    """An earlier check: its jobs by path and name, and the snapshot of prices it rests on."""

    jobs: Mapping[tuple[str, str], PricedJob]
    snapshot: str


def digest_of(*facts: object) -> str:
    """Sixteen hex digits over facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def measurements_digest(rows: Sequence[Measurement]) -> str:
    """The same for the same measurements, in whatever order they were imported."""
    return digest_of(sorted(repr(row) for row in rows)) if rows else "none"


def priced_document(side: PricedJob | None) -> dict[str, Any] | None:
    """A quote with the job's deadline and month beside it; null when there is no choice."""
    quote = quote_document(side.quote) if side else None
    if side is None or quote is None:
        return None
    return (
        {
            **quote,
            "deadline_s": side.deadline_s,
            "runs_per_month": side.runs_per_month,
            "monthly_usd": exact_usd_or_none(side.monthly_usd),
        }
        | _replicas_part(side)
        | _study_part(side)
    )


def _replicas_part(side: PricedJob) -> dict[str, Any]:
    if side.replicas is None or side.quote is None:
        return {}
    return {"replicas": replicas_document(side.replicas, side.quote.hourly_usd)}


def _study_part(side: PricedJob) -> dict[str, Any]:
    if side.study is None:
        return {}
    cap_usd = exact_usd_or_none(side.study.cap_usd)
    return {
        "study": {
            **side.study._asdict(),
            "cap_usd": cap_usd,
            "expected_usd": exact_usd_or_none(side.cost_usd),
        }
    }


def priced_from(entry: dict[str, Any], which: str) -> PricedJob | None:
    """The side `which` (base or head) of a job's entry in a saved document.

    Raises ValueError for what is not such an entry.
    """
    inputs = entry[f"{which}_inputs"]
    if inputs is None:
        return None
    document = entry[which]
    try:
        return PricedJob(
            quote=None if document is None else _quote_from(document),
            problem=entry[f"{which}_problem"],
            deadline_s=None if document is None else _optional(document["deadline_s"]),
            runs_per_month=None if document is None else document["runs_per_month"],
            inputs=Inputs(*(str(inputs[name]) for name in Inputs._fields)),
            forbidden=entry[f"{which}_forbidden"],
            replicas=None if document is None else _replicas_from(document.get("replicas")),
            study=None if document is None else _study_from(document.get("study")),
        )
    except (KeyError, TypeError, InvalidOperation) as error:
        raise ValueError(f"{which}: {error!r}") from None


def read_previous(path: Path) -> PreviousCheck:
    """The check that was written as JSON to `path`."""
    where = str(path)
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from None
    except (ValueError, RecursionError):
        raise InputError("is not JSON", where=where, hint=_SAVED_HINT) from None
    if not isinstance(document, dict) or document.get("schema") != "mlbroker.check/1":
        raise InputError("is not a saved check (mlbroker.check/1)", where=where, hint=_SAVED_HINT)
    try:
        sides = {
            (str(entry["path"]), str(entry["name"])): side
            for entry in document["jobs"]
            if (side := priced_from(entry, "head")) is not None
        }
        return PreviousCheck(sides, str(document["prices"]["snapshot"]))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"is damaged: {error}", where=where, hint=_SAVED_HINT) from None


def _quote_from(document: dict[str, Any]) -> Quote:
    cost, hourly = document["cost_usd"], document.get("hourly_usd")
    most = document.get("max_price_per_hour_usd")
    return Quote(
        cloud=str(document["cloud"]),
        region=str(document["region"]),
        instance_type=str(document["instance_type"]),
        market=Market(document["market"]),
        nodes=int(document["nodes"]),
        price_per_hour_usd=Decimal(document["price_per_hour_usd"]),
        price_as_of=date.fromisoformat(document["price_as_of"]),
        price_source=str(document["price_source"]),
        price_stale=bool(document["price_stale"]),
        step_time_s=_if_known(_quantiles, document["step_time_s"]),
        basis=Basis(document["basis"]),
        evidence=str(document["evidence"]),
        duration_h=_if_known(_quantiles, document["duration_h"]),
        cost_usd=None if cost is None else Cost(**{name: Decimal(cost[name]) for name in _COST}),
        deadline_probability=_optional(document["deadline_probability"]),
        energy_kwh=_optional(document["energy_kwh"]),
        carbon_kgco2e=_optional(document["carbon_kgco2e"]),
        grid_intensity_kgco2e_per_kwh=_optional(document["grid_intensity_kgco2e_per_kwh"]),
        # Checks of earlier releases have none of these.
        arch=str(document.get("arch", Quote._field_defaults["arch"])),
        max_price_per_hour_usd=None if most is None else Decimal(most),
        hourly_usd=Decimal(0) if hourly is None else Decimal(hourly),
        once_usd=Decimal(document.get("once_usd") or 0),
        traffic_usd=Decimal(document.get("traffic_usd") or 0),
        power_w=_optional(document.get("power_w")),
        relative_speed=_optional(document.get("relative_speed")),
    )


def _replicas_from(document: dict[str, Any] | None) -> Replicas | None:
    """Checks of earlier releases have none."""
    if document is None:
        return None
    return Replicas(str(document["kind"]), int(document["least"]), int(document["most"]))


def _study_from(document: dict[str, Any] | None) -> StudySize | None:
    """Checks of earlier releases have none."""
    if document is None:
        return None
    whole, cap_usd = document["whole_trials"], document["cap_usd"]
    return StudySize(document["trials"], _optional(whole), _if_known(Decimal, cap_usd))


def _if_known(read: Callable[[T], V], value: T | None) -> V | None:
    return None if value is None else read(value)


def _quantiles(document: dict[str, Any]) -> Quantiles:
    return Quantiles(float(document["p10"]), float(document["p50"]), float(document["p90"]))


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)
