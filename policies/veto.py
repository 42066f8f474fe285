"""The policy file in the chooser's hand: whether it forbids one machine in one region."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from mlbroker.policies.guardrails import Machine, Policy, Who, gpu_hits, machine_hit
from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.region import Region


@dataclass(frozen=True, slots=True)
class Veto:
    """A policy, whose money it guards, and the reason given for a GPU, if any."""

    policy: Policy
    who: Who
    reason: str | None
    regions: Mapping[int, Region]

    def of(
        self,
        kind: InstanceType,
        spot: bool,
        region_id: int,
        price_per_hour_usd: float,
        cost_usd: float,
        carbon_kg: float | None,
    ) -> str | None:
        """The rule that forbids this machine, with why, or None. The price is of all nodes."""
        machine = Machine(
            cloud=kind.cloud,
            region=self.regions[region_id].name,
            instance_type=kind.name,
            market="spot" if spot else "on_demand",
            price_per_hour_usd=_money(price_per_hour_usd),
            gpu=kind.hardware.gpu is not None,
            cost_usd=_money(cost_usd),
            carbon_kg=carbon_kg,
        )
        hit = machine_hit(self.policy, machine, self.who)
        return None if hit is None else f"{hit.rule}: {hit.why}"

    def of_gpu(self, plain: InstanceType, cost_usd: float) -> str | None:
        """Why a GPU is out when `plain`, a machine without one, would do for `cost_usd`."""
        machines = [
            Machine(plain.cloud, "", plain.name, "", Decimal(0), False, _money(cost_usd)),
            Machine("", "", "", "", Decimal(0), gpu=True),
        ]
        hit = gpu_hits(self.policy, machines, self.reason).get(1)
        return None if hit is None else f"{hit.rule}: {hit.why}"


def _money(amount: float) -> Decimal:
    return Decimal(f"{amount:.6f}")
