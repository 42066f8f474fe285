"""`mlbroker replay`: what spot policies would have done on a recorded trace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_table, say

if TYPE_CHECKING:
    from mlbroker.policies.spot.replay import Trace

CheckpointEvery = Annotated[
    float, typer.Option(help="At most so much work goes with a machine; 0: none.")
]
CheckpointGb = Annotated[float, typer.Option(help="Is carried along from one region to another.")]
Egress = Annotated[
    float, typer.Option(help="Of that; 0.02 is AWS's price between regions of the US.")
]


def command(
    trace: Annotated[
        Path,
        typer.Argument(help="time_s, zone, available, spot_price_per_hour_usd: .csv, .csv.gz."),
    ],
    work_h: Annotated[float, typer.Option(help="The job's work, in hours without interruption.")],
    deadline_h: Annotated[float, typer.Option(help="Hours from start to deadline.")],
    on_demand_price_per_hour_usd: Annotated[float, typer.Option(help="Of the same machine.")],
    restart_overhead_s: Annotated[
        float, typer.Option(help="From asking for a machine until the job works on.")
    ] = 180.0,
    checkpoint_every_s: CheckpointEvery = 0.0,
    checkpoint_gb: CheckpointGb = 0.0,
    egress_per_gb_usd: Egress = 0.02,
    spot_price_per_hour_usd: Annotated[
        float | None, typer.Option(help="For a trace without prices.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="USD that no policy may pass; default: none.")
    ] = None,
    zone: Annotated[
        list[str] | None, typer.Option(help="Only this zone of the trace (repeatable).")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="auto, on-demand, greedy, uniform-progress or value-index.")
    ] = "auto",
    compare: Annotated[bool, typer.Option("--compare", help="Play every policy.")] = False,
    starts: Annotated[int, typer.Option(min=1, help="From so many moments of the trace.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Draws the moments.")] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Draw the first start into this file, a panel a policy.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a spot policy would have done on a recorded trace, and what that had cost.

    Costs are held against on demand from the beginning, against the least that anybody could
    have paid who knew the trace, and against the safe least: of who knew it, and was sure of the
    deadline at each moment all the same. No policy passes deadline or budget; spot is bid for at
    the price on demand.
    """
    load_numpy()
    from mlbroker.broker.app.replay import ReplayRequest, replay_trace
    from mlbroker.broker.backtest.replays import document

    request = ReplayRequest(
        trace=trace,
        work_h=work_h,
        deadline_h=deadline_h,
        restart_overhead_s=restart_overhead_s,
        checkpoint_gb=checkpoint_gb,
        checkpoint_every_s=checkpoint_every_s,
        egress_usd_per_gb=egress_per_gb_usd,
        on_demand_usd_per_h=on_demand_price_per_hour_usd,
        spot_usd_per_h=spot_price_per_hour_usd,
        budget_usd=budget,
        zones=zone or [],
        policies=[] if compare else [policy],
        starts=starts,
        seed=seed,
    )
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
