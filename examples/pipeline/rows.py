"""The rows that the stages share: a made-up question whose answer is known, with noise."""

import csv
import os
import random
from collections.abc import Iterator
from pathlib import Path

DATA = "data"
PARTS = 30
WEIGHTS = (1.5, -2.0, 0.7, 0.0)


def make(seed: int, rows: int) -> Iterator[tuple[float, ...]]:
    """Rows of four features and the answer, 0 or 1, which is wrong in one of ten."""
    lots = random.Random(seed)
    for _ in range(rows):
        features = [lots.gauss(0, 1) for _ in WEIGHTS]
        answer = sum(w * x for w, x in zip(WEIGHTS, features, strict=True)) > 0
        yield (*(round(x, 4) for x in features), int(answer != (lots.random() < 0.1)))


def given_by(stage: str) -> Path:
    """What a stage handed on: mlbroker says where; by hand all stages work in this folder."""
    inputs = os.environ.get("MLBROKER_INPUTS")
    return Path(inputs) / stage if inputs else Path()


def part(number: int) -> Iterator[tuple[list[float], int]]:
    """The features and answers of one part of the data."""
    with (given_by("prepare") / DATA / f"part-{number:02}.csv").open(newline="") as file:
        for row in csv.reader(file):
            yield [float(cell) for cell in row[:-1]], int(row[-1])


def setting(name: str, otherwise: int) -> int:
    """A number from the environment."""
    return int(os.environ.get(name, otherwise))
