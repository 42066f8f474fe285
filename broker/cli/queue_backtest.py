"""`mlbroker queue backtest`: what a queue policy would have made of a cluster's jobs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_table, say


def backtest(
    table: Annotated[
        Path,
        typer.Argument(help="submit_s, gpus, duration_s, vc: .csv, .csv.gz or .parquet."),
    ],
    places: Annotated[
        int | None, typer.Option(help="GPUs of the site; default: what --load asks for.")
    ] = None,
    load: Annotated[float, typer.Option(help="Share of the places that the jobs fill.")] = 0.9,
    policy: Annotated[
        str, typer.Option(help="auto, multifactor-easy, srpt, …; see docs/queue.md.")
    ] = "auto",
    compare: Annotated[bool, typer.Option("--compare", help="Play every policy.")] = False,
    cloud_usd_per_gpu_h: Annotated[
        float | None, typer.Option(help="Price of the cloud; none: nobody leaves the site.")
    ] = None,
    restart_s: Annotated[
        float, typer.Option(help="Until a job that had to yield works again.")
    ] = 120.0,
    days: Annotated[
        str | None, typer.Option(help="Only jobs submitted from day A to B, as 27:87.")
    ] = None,
    sigma: Annotated[
        float, typer.Option(help="Error of the predictions, of their logarithm, where drawn.")
    ] = 0.3,
    preemptible_share: Annotated[
        float, typer.Option(help="Share of jobs that may be stopped at a checkpoint, where drawn.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Draws the columns that are lacking.")] = 0,
    json: Json = False,
) -> None:
    """Play a queue policy on a cluster's jobs: waits, deadlines, cost.

    Optional columns: deadline_s (from the trace's start, as submit_s), value_usd_per_h (what an
    hour of waiting costs), predicted_s, preemptible. Those that lack are drawn, and named.
    Policies see predictions, never durations.
    """
    load_numpy()
    from mlbroker.broker.app.queue_backtest import QueueRequest, backtest_queue

    told = backtest_queue(
        QueueRequest(
            table=table,
            policies=[] if compare else [policy],
            places=places,
            load=load,
            days=None if days is None else _days(days),
            cloud_usd_per_gpu_h=cloud_usd_per_gpu_h,
            restart_s=restart_s,
            sigma=sigma,
            preemptible_share=preemptible_share,
            seed=seed,
        ),
        Terminal(),
    )
    if json:
        print_json(told)
    else:
        _show(told)


def _days(text: str) -> tuple[float, float]:
    try:
        begin, end = map(float, text.split(":"))
    except ValueError:
        raise InputError("there are no such days", where="--days", hint="as in 27:87") from None
    return begin, end


def _show(told: dict[str, Any]) -> None:
    right = ("wait h", "p99 h", "in time", "waiting USD", "cloud USD", "used", "stops")
    lines = [
        [
            name,
            _number(row["mean_wait_h"]),
            _number(row["p99_wait_h"]),
            _share(row["deadline_hit_rate"]),
            f"{row['waiting_usd']:,.0f}",
            f"{row['cloud_usd']:,.0f}",
            _share(row["utilisation"]),
            f"{row['preemptions_per_job']:.2f}",
        ]
        for name, row in told["summary"].items()
    ]
    print_table(["policy", *right], lines, right=right)
    say(f"{told['jobs']:,} jobs on {told['places']:,} places; stops: preemptions a job.")
    if told["drawn"]:
        say(f"Drawn with seed {told['seed']}, as the table lacks it: {', '.join(told['drawn'])}.")
    refused = max(row["refused"] for row in told["summary"].values())
    if refused:
        say(f"Never ran: {refused:,}.")


def _number(hours: float | None) -> str:
    return "" if hours is None else f"{hours:,.2f}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
