"""What spot policies would have done on a recorded trace, and what that had cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.backtest.replays import Replay, draw_starts, replay
from mlbroker.broker.backtest.trace import read_trace
from mlbroker.broker.errors import InputError, NothingFeasible
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.replay import Trace


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What the command line asks for. `policies` is empty for all."""

    trace: Path
    work_h: float
    deadline_h: float
    restart_overhead_s: float
    checkpoint_gb: float
    checkpoint_every_s: float
    egress_usd_per_gb: float
    on_demand_usd_per_h: float
    spot_usd_per_h: float | None
    budget_usd: float | None
    zones: Sequence[str]
    policies: Sequence[str]
    starts: int
    seed: int
    one_at_a_time: bool = False


def replay_trace(request: ReplayRequest, listener: Listener) -> tuple[Trace, Terms, list[Replay]]:
    """Every policy from every start; NothingFeasible where on demand alone would be late."""
    for name in request.policies:
        if name not in POLICIES:
            hint = nearest_hint(name, list(POLICIES))
            raise InputError(f"there is no policy {quoted(name)}", where="--policy", hint=hint)
    _refuse_nonsense(request)
    trace = read_trace(
        request.trace, request.on_demand_usd_per_h, request.zones, request.spot_usd_per_h,
        listener.warn,
    )  # fmt: skip
    terms = Terms(
        work_h=request.work_h,
        deadline_h=request.deadline_h,
        on_demand_usd_per_h=request.on_demand_usd_per_h,
        restart_h=request.restart_overhead_s / 3600,
        tick_h=trace.tick_h,
        lost_h=request.checkpoint_every_s / 3600,
        egress_usd=request.checkpoint_gb * request.egress_usd_per_gb,
        budget_usd=request.budget_usd,
        overlaps=not request.one_at_a_time,
    )
    _refuse_hopeless(terms)
    starts = draw_starts(trace, terms.deadline_h, request.starts, request.seed)
    if not starts:
        raise InputError(
            f"the trace lasts {len(trace.up) * trace.tick_h:.4g} h, "
            f"and the deadline is after {terms.deadline_h:.4g} h",
            where=str(request.trace),
        )
    if len(starts) < request.starts:
        listener.warn(f"the trace is too short for more than {len(starts)} starts")
    if terms.restart_h > trace.tick_h:
        ticks = terms.restart_h / trace.tick_h
        listener.warn(f"a restart takes {ticks:.1f} looks of the trace")
    return trace, terms, replay(trace, terms, starts, request.policies or list(POLICIES))


def _refuse_nonsense(request: ReplayRequest) -> None:
    above_zero = (
        ("--work-h", request.work_h),
        ("--deadline-h", request.deadline_h),
        ("--on-demand-price-per-hour-usd", request.on_demand_usd_per_h),
        ("--spot-price-per-hour-usd", request.spot_usd_per_h),
        ("--budget", request.budget_usd),
    )
    for flag, value in above_zero:
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{value:g} is not a number above zero", where=flag)
    others = (
        ("--restart-overhead-s", request.restart_overhead_s),
        ("--checkpoint-gb", request.checkpoint_gb),
        ("--checkpoint-every-s", request.checkpoint_every_s),
        ("--egress-per-gb-usd", request.egress_usd_per_gb),
    )
    for flag, value in others:
        if not 0 <= value < math.inf:
            raise InputError(f"{value:g} is not a number of zero or more", where=flag)


def _refuse_hopeless(terms: Terms) -> None:
    least_h = terms.work_h + terms.restart_h
    if terms.deadline_h < least_h:
        raise NothingFeasible(
            f"on demand from the beginning it takes {least_h:.4g} h, restart included, "
            f"and the deadline is after {terms.deadline_h:.4g} h",
            where="--deadline-h",
        )
    least_usd = terms.on_demand_usd_per_h * least_h + terms.egress_usd
    if terms.budget_usd is not None and terms.budget_usd < least_usd:
        raise NothingFeasible(
            f"on demand from the beginning it costs {least_usd:.4g} USD: nobody is sure of less",
            where="--budget",
        )
