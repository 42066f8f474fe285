"""`mlbroker replay`: what policies would have done on a recorded trace, of spot or of requests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlbroker.broker.cli import options
from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_table, say

if TYPE_CHECKING:
    from mlbroker.broker.app.replay import ReplayRequest
    from mlbroker.policies.spot.replay import Trace

# Of a job on spot machines.
WorkH = Annotated[float | None, typer.Option(help="The job's work, in hours without interruption.")]
DeadlineH = Annotated[float | None, typer.Option(help="Hours from start to deadline.")]
OnDemand = Annotated[float | None, typer.Option(help="On demand, of the same machine.")]
Restart = Annotated[float, typer.Option(help="From asking for a machine until the job works on.")]
CheckpointEvery = Annotated[
    float, typer.Option(help="At most so much work goes with a machine; 0: none.")
]
CheckpointGb = Annotated[float, typer.Option(help="Is carried along from one region to another.")]
Egress = Annotated[
    float, typer.Option(help="Of that; 0.02 is AWS's price between regions of the US.")
]
SpotPrice = Annotated[float | None, typer.Option(help="For a trace without prices.")]
Budget = Annotated[float | None, typer.Option(help="USD that no policy may pass; default: none.")]
PolicyName = Annotated[
    str | None,
    typer.Option(
        help="auto, on-demand, greedy, uniform-progress or value-index; default: auto."
        " Service: auto, none, vendor-budget, until-broke or fixed-max; default: all."
    ),
]
Zone = Annotated[list[str] | None, typer.Option(help="Only this zone of the trace (repeatable).")]
OneAtATime = Annotated[
    bool,
    typer.Option(
        "--one-at-a-time", help="No machine works on while the next one boots, as in a run."
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Play every policy.")]
Starts = Annotated[int, typer.Option(min=1, help="From so many moments of the trace.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws the moments.")]
Html = Annotated[
    Path | None, typer.Option(help="Draw the first start into this file, a panel a policy.")
]
# Of a service.
Capacity = Annotated[
    float | None,
    typer.Option(help="Service: requests a second that a replica serves in time."),
]
Price = Annotated[float | None, typer.Option(help="Service: of a replica.")]
Cap = Annotated[
    float | None, typer.Option(help="Service: most USD of a month, or a shorter trace.")
]
Boot = Annotated[float, typer.Option(help="Service: from a replica's start until it serves.")]
Name = Annotated[
    str | None, typer.Option(help="Service: only rows that have this in the column service.")
]


def command(
    trace: Annotated[
        Path,
        typer.Argument(
            help="time_s, zone, available, spot_price_per_hour_usd: .csv, .csv.gz."
            " Service: time_s, requests, or a row a request: time_s, input_tokens, output_tokens."
        ),
    ],
    job: Annotated[
        Path | None, typer.Argument(help="The job file of a service, for a trace of requests.")
    ] = None,
    work_h: WorkH = None,
    deadline_h: DeadlineH = None,
    on_demand_price_per_hour_usd: OnDemand = None,
    restart_overhead_s: Restart = 180.0,
    checkpoint_every_s: CheckpointEvery = 0.0,
    checkpoint_gb: CheckpointGb = 0.0,
    egress_per_gb_usd: Egress = 0.02,
    spot_price_per_hour_usd: SpotPrice = None,
    budget: Budget = None,
    zone: Zone = None,
    policy: PolicyName = None,
    one_at_a_time: OneAtATime = False,
    compare: Compare = False,
    starts: Starts = 20,
    seed: Seed = 0,
    html: Html = None,
    capacity_rps: Capacity = None,
    price_per_hour_usd: Price = None,
    cap_usd: Cap = None,
    boot_s: Boot = 300.0,
    service: Name = None,
    json: Json = False,
) -> None:
    """Say what policies would have done on a recorded trace, and what that had cost.

    On a trace of spot machines: costs are held against on demand from the beginning, against the
    least that anybody could have paid who knew the trace, and against the safe least: of who knew
    it, and was sure of the deadline at each moment all the same. No policy passes deadline or
    budget; spot is bid for at the price on demand. On a trace of requests, with the JOB file of a
    service: how many replicas it may have under its cap, and who is served in time.
    """
    load_numpy()
    if job is not None:
        spot = {"work_h": work_h, "deadline_h": deadline_h, "budget": budget, "zone": zone}
        options.no_effect("on a service", **spot, html=html, one_at_a_time=one_at_a_time)
        _service(
            trace, job, capacity_rps, price_per_hour_usd, cap_usd, boot_s, service,
            [] if compare or policy is None else [policy], json,
        )  # fmt: skip
        return
    asked = {"capacity_rps": capacity_rps, "cap_usd": cap_usd, "service": service}
    options.no_effect(
        "without the JOB file of a service", **asked, price_per_hour_usd=price_per_hour_usd
    )
    from mlbroker.broker.app.replay import ReplayRequest

    request = ReplayRequest(
        trace=trace,
        work_h=_needed("--work-h", work_h),
        deadline_h=_needed("--deadline-h", deadline_h),
        restart_overhead_s=restart_overhead_s,
        checkpoint_gb=checkpoint_gb,
        checkpoint_every_s=checkpoint_every_s,
        egress_usd_per_gb=egress_per_gb_usd,
        on_demand_usd_per_h=_needed("--on-demand-price-per-hour-usd", on_demand_price_per_hour_usd),
        spot_usd_per_h=spot_price_per_hour_usd,
        budget_usd=budget,
        zones=zone or [],
        policies=[] if compare else [policy or "auto"],
        starts=starts,
        seed=seed,
        one_at_a_time=one_at_a_time,
    )
    _spot(request, html, json)


def _needed(flag: str, value: float | None) -> float:
    if value is None:
        hint = "a trace of requests needs the JOB file of a service instead"
        raise InputError("is needed for a trace of spot machines", where=flag, hint=hint)
    return value


def _service(
    trace: Path,
    job: Path,
    capacity_rps: float | None,
    price: float | None,
    cap_usd: float | None,
    boot_s: float,
    service: str | None,
    policies: list[str],
    json: bool,
) -> None:
    from mlbroker.broker.app.service_replay import ServiceReplayRequest, replay_service

    request = ServiceReplayRequest(
        trace, job, capacity_rps, price, cap_usd, boot_s, service, policies
    )
    told = replay_service(request, Terminal())
    if json:
        print_json(told)
    else:
        from mlbroker.broker.cli.replay_service import show_service

        show_service(told)


def _spot(request: "ReplayRequest", html: Path | None, json: bool) -> None:
    from mlbroker.broker.app.replay import replay_trace
    from mlbroker.broker.backtest.replays import document

    recorded, terms, replays = replay_trace(request, Terminal())
    told = document(recorded, terms, replays)
    if html is not None:
        from mlbroker.broker.backtest.replay_page import replay_page

        first = [each for each in replays if each.start == replays[0].start]
        write_file(html, replay_page(recorded, terms, first), force=True)
    if json:
        print_json(told)
    else:
        _show(recorded, told, len(replays))


def _show(recorded: "Trace", told: dict[str, Any], replays: int) -> None:
    shares = ", ".join(
        f"{name} {share:.0%}"
        for name, share in zip(recorded.zones, recorded.up.mean(axis=0), strict=True)
    )
    say(f"Spot could be had: {shares}. Played from {replays // len(told['summary'])} moments.")
    right = ("of on demand", "of the least", "of the safe least", "late", "restarts")
    lines = [
        [
            name,
            f"{total['cost_vs_on_demand']:.1%}",
            f"{total['cost_vs_clairvoyant']:.3f}",
            f"{total['cost_vs_clairvoyant_in_shell']:.3f}",
            str(total["misses"]),
            f"{total['restarts']:.1f}",
        ]
        for name, total in told["summary"].items()
    ]
    print_table(["policy", *right], lines, right=right)
