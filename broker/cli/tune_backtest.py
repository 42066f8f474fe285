"""`mlbroker tune backtest`: what a study on recorded learning curves would have cost."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlbroker.broker.cli.options import Json
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.words import count


def backtest(
    curves: Annotated[
        Path,
        typer.Argument(help="task, config, epoch_s, acc_1, acc_2, …: .csv, .csv.gz or .parquet."),
    ],
    configs: Annotated[
        Path | None, typer.Option(help="Hyperparameters: a column config, and one of each.")
    ] = None,
    searcher: Annotated[
        str, typer.Option(help="auto, random, grid or tpe; see docs/tuning.md.")
    ] = "auto",
    policy: Annotated[
        str, typer.Option(help="auto, random-full, asha-stop or sha-pause.")
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Trials at a time.")] = 8,
    warm: Annotated[bool, typer.Option("--warm", help="The other tasks are the past.")] = False,
    goal: Annotated[
        str | None, typer.Option(help="maximize or minimize; default: by the metric's name.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Of a table with several: acc for acc_1, acc_2, ….")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws configurations.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Studies of each task.")] = 1,
    json: Json = False,
) -> None:
    """Play a study on recorded learning curves: at what cost?

    Each task is studied until a step of some trial is as good as the best end of 64 whole random
    trials, in the median; their cost, and their time on as many workers, is 1. A study that spent
    three times that has missed. A metric is seen once its steps are paid for.
    """
    load_numpy()
    from mlbroker.broker.app.tune_backtest import TuneRequest, backtest_tuning

    told = backtest_tuning(
        TuneRequest(
            curves=curves,
            configs=configs,
            searcher=searcher,
            policy=policy,
            workers=workers,
            warm=warm,
            goal=goal,
            metric=metric,
            seed=seed,
            repeats=repeats,
        ),
        Terminal(),
    )
    if json:
        print_json(told)
    else:
        _show(told)


def _show(told: dict[str, Any]) -> None:
    right = ("cost", "time", "missed", "trials")
    lines = []
    for task in dict.fromkeys(each["task"] for each in told["tasks"]):
        mine = [each for each in told["tasks"] if each["task"] == task]
        lines.append([task, *(_mean(mine, key) for key in _SHOWN)])
    lines.append(["mean", *(_mean([told["summary"]], key) for key in _SHOWN)])
    print_table(["task", *right], lines, right=right)
    say(
        f"{told['metric']}, {told['goal']}; policy {told['policy']}, searcher {told['searcher']}"
        f"{', warm' if told['warm'] else ''}, {count(told['workers'], 'worker')}, seed "
        f"{told['seed']}. Each task was studied {count(told['repeats'], 'time')}."
    )


_SHOWN = {
    "cost_ratio": "{:.3f}",
    "time_ratio": "{:.3f}",
    "missed": "{:.0%}",
    "trials": "{:.0f}",
}


def _mean(rows: list[dict[str, Any]], key: str) -> str:
    return _SHOWN[key].format(sum(row[key] for row in rows) / len(rows))
