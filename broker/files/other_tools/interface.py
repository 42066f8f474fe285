"""What the modules of another tool offer: a reader of its files, a writer of them."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

from mlbroker.broker.files.other_tools.carrying import Carrying
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import InstanceType, Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ResourceOption


class Reader(Protocol):
    """`read_NAME.py`."""

    def read(self, text: str, carrying: Carrying) -> None:
        """Put what `text` says into `carrying`: every key is carried over, or named as left.

        Raises InputError, with file and line, for what the tool itself would refuse.
        """


class Chosen(NamedTuple):
    """A job on the machine that a plan chose for it.

    `time_limit_s` is until the deadline; `workdir` is relative to the file that is written.
    """

    job: Job
    quote: Quote
    kind: InstanceType
    time_limit_s: int | None
    workdir: str | None

    @property
    def option(self) -> ResourceOption:
        """What was asked for, and this machine meets."""
        return self.job.resources[self.quote.option]

    @property
    def own(self) -> bool:
        """Whether it is the user's own machine, which no cloud has."""
        return vendor(self.kind.cloud).own

    @property
    def type_name(self) -> str:
        """As its cloud calls the machine: Google attaches GPUs to types of its own."""
        return self.kind.name.partition("+")[0]

    @property
    def gpus(self) -> int:
        """Whole GPUs; a part of one is told by the type alone."""
        return int(self.kind.hardware.gpu_count)

    @property
    def spot(self) -> bool:
        """Whether it can be taken away."""
        return self.quote.market is Market.SPOT

    @property
    def words(self) -> str:
        """The machine, in a comment."""
        where = "of your own" if self.own else f"of {self.kind.cloud} in {self.quote.region}"
        nodes = f"{self.quote.nodes} " if self.quote.nodes > 1 else ""
        return f"{nodes}{self.kind.name} {where}, {self.quote.market.value.replace('_', ' ')}"

    def asked_for(self) -> dict[str, str]:
        """All that a file of ours says beside the command, in words."""
        job, option = self.job, self.option
        place = f"{self.kind.cloud}/{self.quote.region}"
        facts = {
            "workdir": self.workdir,
            "instance_type": self.kind.name,
            "infra": None if self.own else place,
            "zone": option.zone,
            "arch": "arm64" if self.kind.hardware.arch == "arm64" else None,
            "use_spot": None if self.own else str(self.spot).lower(),
            "disk_size": f"{option.disk_gb} GB",
            "image_id": option.image_id,
            "max_hourly_cost": option.max_price_per_hour_usd and f"{option.max_price_per_hour_usd}",
            "deadline": self.time_limit_s and f"{self.time_limit_s} s",
            "budget": job.budget_usd and f"{job.budget_usd} USD",
            "checkpoint": job.checkpoint and job.checkpoint.path,
            "outputs": ", ".join(job.outputs),
            "progress": job.progress,
            "nlp": str(job.nlp),
        }
        return {key: value for key, value in facts.items() if value}


class Writer(Protocol):
    """`write_NAME.py`. `SAYS` are the facts of `Chosen.asked_for` that are in its files."""

    SAYS: Collection[str]

    def write(self, chosen: Chosen) -> str:
        """The tool's file for this job on this machine."""


def script(job: Job) -> str:
    """Set-up and command as one; the set-up in a shell of its own, whose failure ends it."""
    if not job.setup:
        return job.command
    setup = job.setup.strip("\n")
    return f"(\n{setup}\n)\ncode=$?; [ $code = 0 ] || exit $code\n{job.command}"


def words_of(name: str, longest: int) -> str:
    """A name of lower-case letters, digits and dashes that begins with a letter."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return plain.lstrip("-0123456789")[:longest].strip("-") or "job"
