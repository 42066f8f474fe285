"""What a run is about to do, for the question before it and for the dry run."""

from dataclasses import dataclass
from decimal import Decimal

from mlbroker.broker.clouds import opener
from mlbroker.broker.home import home
from mlbroker.broker.output import say
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.summary import money
from mlbroker.pricing.billing import WorstCase
from mlbroker.profiles.job import Job


@dataclass(frozen=True, slots=True)
class Offer:
    """What is about to be done, for the question and the dry run."""

    job: Job
    candidates: tuple[LaunchOption, ...]
    cap_usd: Decimal

    @property
    def lifetime_s(self) -> Decimal:
        """How long the cap lets the first machine live."""
        return self._worst().lifetime_s

    @property
    def worst_usd(self) -> Decimal:
        """What is reserved."""
        return self._worst().usd

    def _worst(self) -> WorstCase:
        first = self.candidates[0]
        traits = opener(home())(first.cloud).traits
        return launch.worst_case(first, self.cap_usd, traits)

    def show(self) -> None:
        """In words, on stderr."""
        first, seconds = self.candidates[0], float(self.lifetime_s)
        say(
            f"{self.job.name}: {first.nodes} x {first.instance_type} ({first.cloud}, "
            f"{first.region}, {first.market}) at {money(first.price_per_hour_usd)} USD/h each"
        )
        say(
            f"Cap {money(self.cap_usd)} USD: the machine is ended {span(seconds)} after its start "
            f"at the latest; {money(self.worst_usd)} USD are reserved."
        )

    def document(self) -> dict[str, object]:
        """As JSON."""
        first = self.candidates[0]
        return {
            "schema": "mlbroker.run/1",
            "dry_run": True,
            "job": self.job.name,
            "cloud": first.cloud,
            "region": first.region,
            "instance_type": first.instance_type,
            "market": first.market,
            "nodes": first.nodes,
            "price_per_hour_usd": money(first.price_per_hour_usd),
            "budget_usd": money(self.cap_usd),
            "reserved_usd": money(self.worst_usd),
            "lifetime_s": float(self.lifetime_s),
        }


def span(seconds: float) -> str:
    """A span of time, as coarse as it is long."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"
