"""A training's batch: how large it may be, and by which variables the job is told.

| word | means | unit |
| --- | --- | --- |
| size | the batch that the learning rate fits, over all machines and passes of a step | samples |
| most | the largest that may ever be chosen | samples |
| micro | of one pass on one machine | samples |
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Self

# Of a count that goes on after a restart, the first number is no less than this share of what was
# done; else it began anew.
_GOES_ON = 0.5


class LrRule(StrEnum):
    """How the learning rate follows the batch: by the gain (SGD), its root (Adam), or the batch."""

    ADASCALE = "adascale"
    SQRT = "sqrt"
    LINEAR = "linear"
    NONE = "none"


class Adapt(StrEnum):
    """What may be done about the batch and the machines: nothing, a word, another batch, a move."""

    OFF = "off"
    ADVISE = "advise"
    BATCH = "batch"
    MOVE = "move"


class LearningRate(NamedTuple):
    """The variable that holds it, its value at the batch `size`, and how it follows the batch."""

    env: str
    base: float
    rule: LrRule


class BatchAt(NamedTuple):
    """A batch that a run may have: the passes of a step there, what a sample is worth against one
    at the job's own batch, and the factor on the learning rate; None where the job names none.
    """

    size: int
    passes: int
    efficiency: float
    lr_scale: float | None


class Batch(NamedTuple):
    """What a job file says of the batch. The variables are the job's own names; None: it has none.

    `micro` is the most that one machine takes in a pass; None: a step is one pass.
    """

    size: int
    most: int
    micro: int | None = None
    total_env: str | None = None
    micro_env: str | None = None
    accumulation_env: str | None = None
    rate: LearningRate | None = None

    def document(self) -> dict[str, Any]:
        """As an order keeps it."""
        rate = self.rate and self.rate._asdict() | {"rule": self.rate.rule.value}
        return self._asdict() | {"rate": rate}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The same, read back."""
        told = document["rate"]
        rate = told and LearningRate(told["env"], told["base"], LrRule(told["rule"]))
        return cls(**{**document, "rate": rate})

    @property
    def can_be_told(self) -> bool:
        """Whether the job learns of another batch by one of its own variables."""
        return bool(self.total_env or self.micro_env or self.accumulation_env)

    def passes(self, size: int, nodes: int) -> int:
        """The fewest equal passes of a step in which no machine has more than `micro` at once."""
        share = size // nodes
        small = [n for n in range(1, math.isqrt(share) + 1) if share % n == 0]
        fits = self.micro or share
        return min(n for n in (*small, *(share // n for n in small)) if share // n <= fits)

    def variables(self, size: int, nodes: int, lr_scale: float = 1.0) -> Mapping[str, str]:
        """What a job on so many nodes is told of a batch that they share evenly."""
        passes = self.passes(size, nodes)
        micro = size // nodes // passes
        told = {
            "MLBROKER_BATCH_SIZE": str(size),
            "MLBROKER_MICRO_BATCH": str(micro),
            "MLBROKER_GRAD_ACCUM": str(passes),
            "MLBROKER_LR_SCALE": f"{lr_scale:.6g}",
            "MLBROKER_NUM_NODES": str(nodes),
        }
        own = {self.total_env: size, self.micro_env: micro, self.accumulation_env: passes}
        told |= {name: str(value) for name, value in own.items() if name is not None}
        if self.rate is not None:
            told[self.rate.env] = f"{self.rate.base * lr_scale:.6g}"
        return told


def steps_of(size: int, steps: int | None, batch: int, told: int | None) -> int | None:
    """Optimizer steps of the whole work at another batch: as the job tells, else as many samples as
    `steps` of `size` have; None where nobody says.
    """
    if batch == size:
        return steps or told
    return told or (None if steps is None else max(1, -(-steps * size // batch)))


def share_done(step: int, first: int, whole: int, before: float, *, told: bool) -> float:
    """The share that is done at a step of an attempt that began at the share `before`.

    `first` is the first step that it counted, of `whole` steps in all, which the job `told` itself
    or not. A count that begins anew in a restarted job has its total for what was left then.
    """
    share = step / whole
    if before > 0 and first / whole < _GOES_ON * before:
        share = before + ((1 - before) * share if told else share)
    return min(1.0, max(0.0, share))
