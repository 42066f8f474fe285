"""`mlbroker backtest`: what would have been chosen on a table of measured runs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlbroker.broker.errors import InputError
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_table, say, warn

if TYPE_CHECKING:
    from mlbroker.broker.backtest.table import Table
    from mlbroker.broker.backtest.trials import Setting, Trial


class History(StrEnum):
    """What is known of the other jobs: those of other groups, or nothing."""

    GROUP_OUT = "group-out"
    NONE = "none"


def command(
    table: Annotated[Path, typer.Argument(help="Measurements table: .csv, .csv.gz or .parquet.")],
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
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what mlbroker would have chosen on a table of measured runs, and what that had cost.

    A time becomes known only by paying for a probe: price x (set-up + the longer of a minute and
    2 % of the work). The cost of a choice is held against the cheapest configuration that meets
    the deadline; all-in adds the probes. Sister jobs (one group) never help each other.
    """
    for flag, value in (("--job-hours", job_hours), ("--deadline-factor", deadline_factor)):
        if value is not None and not 0 < value < 1e9:
            raise InputError(f"{value:g} is not a number above zero", where=flag)
    if not setup_s < 1e9:
        raise InputError(f"{setup_s:g} is not a length of time", where="--setup-s")
    load_numpy()
    from mlbroker.broker.measure.table import read_measurements

    rows = read_measurements(table)
    from mlbroker.broker.backtest.document import document
    from mlbroker.broker.backtest.past import Library
    from mlbroker.broker.backtest.strategies import STRATEGIES
    from mlbroker.broker.backtest.table import understand
    from mlbroker.broker.backtest.trials import Setting, play

    if strategy not in STRATEGIES:
        raise InputError(
            f"there is no strategy {strategy!r}",
            where="--strategy",
            hint=f"known: {', '.join(STRATEGIES)}",
        )
    game = understand(rows, str(table), warn)
    if only is not None and only not in {job.name for job in game.jobs}:
        raise InputError(f"the table has no job {only!r} that worked", where="--only")
    library = Library(game)
    results = []
    for name in STRATEGIES if compare else [strategy]:
        setting = Setting(
            name, job_hours, deadline_factor, setup_s, history is History.GROUP_OUT, seed, repeats,
            only,
        )  # fmt: skip
        results.append((setting, play(game, library, setting)))
    if json:
        documents = [document(str(table), setting, trials) for setting, trials in results]
        if compare:
            print_json({"schema": "mlbroker.backtest-comparison/1", "strategies": documents})
        else:
            print_json(documents[0])
    elif compare:
        _show_comparison(game, results)
    else:
        _show(game, *results[0])


def _show(game: "Table", setting: "Setting", trials: "list[Trial]") -> None:
    print_table(
        ["job", "chosen", "best", "cost", "all-in", "probes", "in time"],
        [
            [
                trial.job,
                trial.chosen or "nothing works",
                trial.best,
                f"{trial.score.cost_ratio:.2f}",
                f"{trial.score.all_in_ratio:.2f}",
                str(len(trial.probes)),
                "yes" if trial.score.deadline_met else "no",
            ]
            for trial in trials
        ],
        right=("cost", "all-in", "probes"),
    )
    say("")
    _show_comparison(game, [(setting, trials)])


def _show_comparison(game: "Table", results: "list[tuple[Setting, list[Trial]]]") -> None:
    from mlbroker.broker.backtest.document import summary
    from mlbroker.broker.backtest.trials import bootstrap

    family = {job.name: job.family for job in game.jobs}
    lines = []
    for setting, trials in results:
        total = summary(trials)
        low, high = bootstrap(
            [trial.score.all_in_ratio for trial in trials], [family[t.job] for t in trials]
        )
        lines.append(
            [
                setting.strategy,
                f"{total['all_in_ratio']:.2f}",
                f"{low:.2f} to {high:.2f}",
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
