"""Trainings of known truth, and their two tables as CSV."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.backtest.goodput_table import read_trainings
from mlbroker.policies.adapt import STRATEGIES
from mlbroker.policies.adapt.interface import Probe, Run, View
from mlbroker.policies.adapt.training import Training
from mlbroker.profiles.noise import gain

Row = dict[str, Any]
# GPU type: how fast against T4, price of one, price of a node, GPUs of a node.
GPUS = {"T4": (1.0, 0.5, 4.0, 4), "V100": (3.0, 3.0, 22.0, 8), "A100": (6.0, 3.7, 22.0, 8)}
NODES = (1, 2, 4)


class Model(NamedTuple):
    """A training: `sample_s` on one T4; φ goes from `noise[0]` to `noise[1]` default batches."""

    name: str
    default_batch: int = 64
    sample_s: float = 0.01
    overhead_s: float = 0.05
    exchange_s: float = 0.05
    noise: tuple[float, float] = (4.0, 60.0)
    epochs: int = 20
    steps_an_epoch: int = 1_000


MODELS = (
    Model("small"),
    Model("wide", 256, 0.002, 0.04, 0.02, (1.0, 200.0), 40),
    Model("deep", 16, 0.08, 0.2, 0.4, (30.0, 80.0), 8),
)


def step_rows(model: Model) -> Iterator[Row]:
    """A step on every layout at every local batch."""
    locals_ = [max(1, model.default_batch * 2**n // 4) for n in range(5)]
    for gpu, (speed, single_usd, node_usd, of_node) in GPUS.items():
        layouts = [(1, 1, single_usd)]
        layouts += [(nodes, nodes * of_node, nodes * node_usd) for nodes in NODES]
        for nodes, gpus, usd in layouts:
            for local in locals_:
                compute = (model.overhead_s + model.sample_s * local) / speed
                exchange = model.exchange_s * (1 if nodes == 1 else 3) * (1 + 0.02 * gpus)
                whole = math.hypot(compute, exchange if gpus > 1 else 0.0)
                yield {
                    "job": model.name, "gpu": gpu, "cloud": "aws",
                    "instance_type": f"{gpu}-{gpus // nodes}", "nodes": nodes, "gpus": gpus,
                    "placement": "", "local_batch": local, "step_time_s": f"{whole:.6f}",
                    "sync_time_s": f"{whole - compute:.6f}", "price_per_hour_usd": usd,
                    "licence": "none",
                }  # fmt: skip


def epoch_rows(model: Model) -> Iterator[Row]:
    """Convergence at the default batch and up to sixteen times as many samples."""
    for times in (1, 2, 4, 8, 16):
        taken = got = 0.0
        for epoch in range(1, model.epochs + 1):
            done = (epoch - 0.5) / model.epochs
            first, last = model.noise
            noise = first * (last / first) ** done * times**0.5
            got += model.steps_an_epoch
            taken += model.steps_an_epoch / float(gain(noise, 1.0, times))
            yield {
                "job": model.name, "default_batch": model.default_batch, "restart_s": 60,
                "batch_size": model.default_batch * times, "epoch": epoch,
                "iteration": f"{taken:.3f}", "progress": got, "metric": 0.5,
                "grad_sqr": 2.0, "grad_var": f"{2 * noise:.6f}",
            }  # fmt: skip


def unchanged(row: Row) -> Row:
    """The row as it is."""
    return row


def write_tables(
    folder: Path,
    models: tuple[Model, ...] = MODELS,
    steps: Callable[[Row], Row | None] = unchanged,
    epochs: Callable[[Row], Row | None] = unchanged,
) -> tuple[Path, Path]:
    """Both tables, each row as a function makes it; None leaves it out."""
    paths = folder / "steps.csv", folder / "epochs.csv"
    for path, made, change in zip(paths, (step_rows, epoch_rows), (steps, epochs), strict=True):
        rows = [new for model in models for row in made(model) if (new := change(row)) is not None]
        lines = [",".join(rows[0])] if rows else []
        lines += [",".join(str(cell) for cell in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return paths


def trainings(folder: Path, models: tuple[Model, ...] = MODELS) -> tuple[Training, ...]:
    """The same as the back-test reads them."""
    return read_trainings(*write_tables(folder, models), print)


class Heard:
    """A strategy whose wishes are written down, with what it had seen by then."""

    def __init__(self, name: str) -> None:
        self.strategy = STRATEGIES[name](0)
        self.wishes: list[tuple[View, Probe | Run]] = []

    def decide(self, view: View) -> Probe | Run:
        wish = self.strategy.decide(view)
        self.wishes.append((view, wish))
        return wish
