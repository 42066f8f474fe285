"""`mlbroker init`: a first job file for the project in a folder."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.errors import InputError
from mlbroker.broker.output import print_line, say


def command(
    folder: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, inside the folder.")
    ] = Path("job.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    other: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Read another tool's file: Slurm, dstack, Kubernetes, Determined."
        ),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="The GPU's model, for --from files that name none.")
    ] = None,
    cloud: Annotated[
        str | None, typer.Option(help="Write what this cloud's account needs once, instead.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="The region to set up, with --cloud.")] = None,
    form: Annotated[
        str | None, typer.Option(help="cloudformation, terraform …, with --cloud.")
    ] = None,
) -> None:
    """Write a commented job file, or with --cloud a set-up to look over and apply.

    The command, the set-up and the kind of machine are guessed from train.py, requirements.txt,
    pyproject.toml and the like; everything else stands there as a comment. With --from they are
    read from another tool's file, and what cannot be carried over is said line by line. An
    existing file is never overwritten without --force.
    """
    from mlbroker.broker.files.first_job import job_yaml, look_at
    from mlbroker.broker.files.job_file import load_job

    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder))
    if cloud is not None:
        from mlbroker.broker.app.account import setup_of

        setup = setup_of(cloud, region, form)
        write_file(folder / setup.file, setup.text, force)
        print_line(f"Wrote {folder / setup.file}.")
        say("mlbroker applies nothing by itself. Look it over, then:")
        say(f"  {setup.apply}")
        say(f"  mlbroker doctor --cloud {cloud}")
        return
    path = folder / output
    if other is not None:
        _carry_over(other, path, gpu, force)
        return
    no_effect("without --from", gpu=gpu)
    project = look_at(folder.resolve(), ours=Path(sys.prefix))
    write_file(path, job_yaml(project), force)
    load_job(path)
    print_line(f"Wrote {path}.")
    found = project.command or "no training script: edit `run`"
    say(f"Found: {found}; packages: {project.packages or 'none are named'}.")
    say("Next: look it over, then measure and plan:")
    shown = shlex.quote(str(path))
    say(f"  mlbroker profile {shown} --on local --yes")
    say(f"  mlbroker plan {shown}")


def _carry_over(other: Path, path: Path, gpu: str | None, force: bool) -> None:
    from mlbroker.broker.app.carry import carry_over

    carried = carry_over(other, path.parent, gpu)
    if carried is None:
        say(f"{other} needs no conversion, and nothing was written: mlbroker reads it as it is.")
        say(f"  mlbroker plan {shlex.quote(str(other))}")
        return
    write_file(path, carried.text, force)
    print_line(f"Wrote {path} from {carried.words}.")
    for note in carried.notes:
        say(note)
    say("Next: look it over, then:")
    say(f"  mlbroker plan {shlex.quote(str(path))}")
