"""`mlbroker backtest --goodput`: what adaptive training would have made of measured jobs."""

from pathlib import Path
from typing import Any

from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_rows, print_table, say


def play_goodput(
    steps: Path | None,
    epochs: Path | None,
    strategy: str | None,
    how: tuple[float | None, float | None, float, bool, int, str | None],
    *,
    json: bool,
) -> None:
    """One strategy on the two tables, or all of them."""
    from mlbroker.broker.app.goodput_backtest import backtest_goodput
    from mlbroker.broker.backtest.goodput import Setting
    from mlbroker.policies.adapt import STRATEGIES

    if steps is None or epochs is None:
        lacking = "--goodput" if steps is None else "--epochs"
        hint = "--goodput takes step times, --epochs the convergence: see docs/adaptive.md"
        raise InputError("two tables are needed, and one is missing", where=lacking, hint=hint)
    names = [strategy] if strategy is not None else list(STRATEGIES)
    settings = [Setting(name, *how) for name in names]
    documents = backtest_goodput(steps, epochs, settings, home(), Terminal())
    if json and strategy is None:
        print_json({"schema": "mlbroker.goodput-comparison/1", "strategies": documents})
    elif json:
        print_json(documents[0])
    else:
        if strategy is not None:
            _show_jobs(documents[0])
        _show_strategies(documents)


def _show_jobs(document: dict[str, Any]) -> None:
    rows = [
        {
            "job": job["job"],
            "ended on": _where(job["final_machines"]),
            "batch": f"{job['final_batch']:,}",
            "all-in": f"{job['all_in_ratio']:.2f}",
            "USD": f"{job['all_in_usd']:,.2f}",
            "moves": job["moves"],
            "probes": job["probes"],
            "in time": "yes" if job["deadline_met"] else "no",
        }
        for job in document["jobs"]
    ]
    print_rows({name: name for name in rows[0]}, rows, right=("batch", "all-in", "USD", "moves",
                                                             "probes"))  # fmt: skip
    hopeless = [job["job"] for job in document["jobs"] if not job["clairvoyant_in_time"]]
    if hopeless:
        say(f"Nothing is in time for {', '.join(hopeless)}: held against the fastest course.")
    say("")


def _where(machines: dict[str, Any]) -> str:
    nodes = f", {machines['nodes']} nodes" if machines["nodes"] > 1 else ""
    return f"{machines['gpus']} x {machines['gpu']}{nodes}"


def _show_strategies(documents: list[dict[str, Any]]) -> None:
    lines = []
    for document in documents:
        total = document["summary"]
        lines.append(
            [
                document["strategy"],
                f"{total['all_in_ratio']:.2f}",
                f"{total['cost_ratio']:.2f}",
                f"{total['probes']:.1f}",
                f"{total['moves']:.1f}",
                f"{total['deadline_miss_rate']:.0%}",
            ]
        )
    right = ("all-in", "cost", "probes", "moves", "missed")
    print_table(["strategy", *right], lines, right=right)
