"""Options that several commands share: each stands once, with its help."""

from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.cli import completion
from mlbroker.broker.errors import InputError
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job

JobFile = Annotated[Path, typer.Argument(help="Job file.")]
Html = Annotated[Path | None, typer.Option(help="Write a page of it into this file.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

Env = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE", help="A variable of the job; KEY: as it is here (repeatable)."
    ),
]
Cap = Annotated[str | None, typer.Option(help="Hard cap of the run, in USD.")]
Project = Annotated[str | None, typer.Option(help="What it is spent on, in the ledger.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")]
Deadline = Annotated[str | None, typer.Option(help="6h, 90m, or a time with zone.")]
Steps = Annotated[int | None, typer.Option(help="The whole work, in steps.")]
Takes = Annotated[
    str | None,
    typer.Option(metavar="TIME@TYPE", help="How long it takes, and where: 3h@g5.xlarge."),
]

Cloud = Annotated[
    list[str] | None,
    typer.Option(help="Only this cloud (repeatable).", autocompletion=completion.clouds),
]
Region = Annotated[
    list[str] | None,
    typer.Option(help="Only this region (repeatable).", autocompletion=completion.regions),
]
MarketOption = Annotated[list[Market] | None, typer.Option(help="Only on_demand, or only spot.")]
InstanceType = Annotated[
    list[str] | None,
    typer.Option(help="Only this machine type (repeatable).", autocompletion=completion.types),
]

On = Annotated[
    str | None,
    typer.Option(
        help="Run here (local), on a node of yours or on slurm, without a plan.",
        autocompletion=completion.places,
    ),
]
LocalPrice = Annotated[
    str | None, typer.Option(metavar="USD_PER_HOUR", help="What an hour of this machine costs.")
]

SpotPolicy = Annotated[
    str | None,
    typer.Option(help="When spot falls back: auto, greedy, uniform-progress or value-index."),
]

Measure = Annotated[Path | None, typer.Option(help="A measurements table to use for this call.")]
Prices = Annotated[
    Path | None, typer.Option(help="A price file to use in place of the book, for this call.")
]
Policy = Annotated[Path | None, typer.Option(help="Policy file; else mlbroker-policy.yaml upward.")]
Nodes = Annotated[Path | None, typer.Option(help="The file that names your machines.")]

When = Annotated[
    bool,
    typer.Option(
        "--when", help="Say where and when to start for the least carbon; see --intensity."
    ),
]
Intensity = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[CLOUD/REGION=]FILE",
        help="Hourly carbon intensity of a grid: Electricity Maps', WattTime's or your CSV"
        " (repeatable).",
    ),
]
EmbodiedCarbon = Annotated[
    bool, typer.Option("--embodied", help="Show what making the machines emitted, too.")
]


def no_effect(why: str, **given: object) -> None:
    """Refuse the first option that was given: who gives one expects something of it.

    `why` ends the sentence "has no effect …".
    """
    for name, value in given.items():
        if value:
            raise InputError(f"has no effect {why}", where=f"--{name.replace('_', '-')}")


def job_or_name(job: str) -> Job:
    """A job file's job, or one of which only the name is known."""
    from mlbroker.broker.files.job_file import load_job

    path = Path(job)
    # What looks like a file is meant as one: load_job says what is wrong with it.
    if path.exists() or path.suffix in {".yaml", ".yml"}:
        return load_job(path, needs_folder=False).job
    return Job(name=job, command="")
