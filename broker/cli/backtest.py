"""`mlbroker backtest`: what would have been chosen on a table of measured runs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.options import Json, no_effect
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_rows, print_table, say

if TYPE_CHECKING:
    from mlbroker.broker.app.backtest import Played


class History(StrEnum):
    """What is known of the other jobs: those of other groups, or nothing."""

    GROUP_OUT = "group-out"
    NONE = "none"


Goodput = Annotated[
    Path | None,
    typer.Option(help="In place of TABLE: step times of trainings whose batch may grow."),
]
Epochs = Annotated[
    Path | None, typer.Option(help="With --goodput: how the same trainings converged.")
]


def command(
    table: Annotated[
        Path | None, typer.Argument(help="Measurements table: .csv, .csv.gz or .parquet.")
    ] = None,
    goodput: Goodput = None,
    epochs: Epochs = None,
    strategy: Annotated[
        str, typer.Option(help="auto, or what people do: random-3, most-usual, fastest, …")
    ] = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Play every strategy, and show them side by side.")
    ] = False,
    job_hours: Annotated[
        float | None,
        typer.Option(help="Scale every job until its cheapest configuration runs so long."),
    ] = None,
    deadline_factor: Annotated[
        float | None, typer.Option(help="Deadline, as a multiple of the fastest run.")
    ] = None,
    setup_s: Annotated[
        float, typer.Option(min=0, help="Set-up before each probe and run, in seconds.")
    ] = 60.0,
    history: Annotated[
        History, typer.Option(help="Know the jobs of other groups, or none.")
    ] = History.GROUP_OUT,
    only: Annotated[str | None, typer.Option(help="Score only this job.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="For strategies that draw lots.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each job is played.")] = 1,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with every job's choice into this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what mlbroker would have chosen on a table of measured runs, and what that had cost.

    A time becomes known only by paying for a probe: price x (set-up + the longer of a minute and
    2 % of the work). The cost of a choice is held against the cheapest configuration that meets
    the deadline; all-in adds the probes. Sister jobs (one group) never help each other.

    With --goodput, machines and batch are chosen anew between epochs; job hours and deadline are
    of the default batch on the cheapest type with one GPU (docs/adaptive.md).
    """
    load_numpy()
    with_past = history is History.GROUP_OUT
    if goodput is not None or epochs is not None:
        no_effect("with --goodput", table=table, html=html, repeats=repeats > 1)
        from mlbroker.broker.cli.goodput_backtest import play_goodput

        how = (job_hours, deadline_factor, setup_s, with_past, seed, only)
        play_goodput(goodput, epochs, None if compare else strategy, how, json=json)
        return
    no_table = "a measurements table, or --goodput STEPS with --epochs EPOCHS"
    if table is None:
        raise InputError("there is nothing to play on", where="TABLE", hint=no_table)
    how_many = (job_hours, deadline_factor, setup_s, with_past, seed, repeats, only)
    _play_table(table, None if compare else strategy, how_many, html, json=json)


def _play_table(
    table: Path,
    strategy: str | None,
    how: "tuple[float | None, float | None, float, bool, int, int, str | None]",
    html: Path | None,
    *,
    json: bool,
) -> None:
    """One strategy on a measurements table, or all of them."""
    from mlbroker.broker.app.backtest import backtest
    from mlbroker.broker.backtest.strategies import STRATEGIES
    from mlbroker.broker.backtest.trials import Setting

    names = [strategy] if strategy is not None else list(STRATEGIES)
    results = backtest(table, [Setting(name, *how) for name in names], home(), Terminal())
    if html is not None:
        from mlbroker.broker.backtest.backtest_page import backtest_page

        write_file(html, backtest_page(results), force=True)
    documents = [played.document for played in results]
    if json and strategy is None:
        print_json({"schema": "mlbroker.backtest-comparison/1", "strategies": documents})
    elif json:
        print_json(documents[0])
    else:
        if strategy is not None:
            _show_jobs(results[0])
        _show_strategies(results)


def _show_jobs(played: "Played") -> None:
    rows = [
        job
        | {
            "chosen": job["chosen"] or "nothing works",
            "cost": f"{job['cost_ratio']:.2f}",
            "all-in": f"{job['all_in_ratio']:.2f}",
            "probes": len(job["probes"]),
            "in time": "yes" if job["deadline_met"] else "no",
        }
        for job in played.document["jobs"]
    ]
    names = ("job", "chosen", "best", "cost", "all-in", "probes", "in time")
    print_rows({name: name for name in names}, rows, right=("cost", "all-in", "probes"))
    say("")


def _show_strategies(results: "list[Played]") -> None:
    lines = []
    for played in results:
        total = played.document["summary"]
        lines.append(
            [
                played.document["strategy"],
                f"{total['all_in_ratio']:.2f}",
                f"{played.low:.2f} to {played.high:.2f}",
                f"{total['cost_ratio']:.2f}",
                f"{total['probes']['mean']:.1f}",
                f"{total['deadline_miss_rate']:.0%}",
                _share(total["median_ape"]),
                _share(total["interval80_coverage"]),
            ]
        )
    print_table(
        ["strategy", "all-in", "80 % interval", "cost", "probes", "missed", "error", "held"],
        lines,
        right=("all-in", "80 % interval", "cost", "probes", "missed", "error", "held"),
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
