"""`mlbroker schema`: the JSON Schemas of what mlbroker reads and writes."""

from importlib.resources import files
from typing import Annotated

import typer

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted


def command(
    name: Annotated[
        str, typer.Argument(help="What to describe: `job` for job files, `plan`, `check`, …")
    ] = "job",
) -> None:
    """Print a JSON Schema.

    In an editor with YAML support, save it with `mlbroker schema job > job.schema.json` and put
    `# yaml-language-server: $schema=job.schema.json` into the first line of the job file.
    """
    folder = files("mlbroker.broker").joinpath("schemas")
    known = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir())
    if name not in known:
        raise InputError(f"there is no schema {quoted(name)}", hint=nearest_hint(name, known))
    typer.echo(folder.joinpath(f"{name}.json").read_text("utf-8"), nl=False)
