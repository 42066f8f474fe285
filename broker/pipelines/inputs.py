"""What a stage is given of the stages before it: folders here, or files beside its own."""

import os
from collections.abc import Mapping
from pathlib import Path

from mlbroker.broker.guest.box import INPUTS
from mlbroker.broker.home import private_folder
from mlbroker.broker.runs.folder import RunFolder


def outputs_of(state: Path, inputs: Mapping[str, str]) -> dict[str, Path]:
    """By the names of the stages, where their runs' outputs are."""
    return {name: RunFolder.of(state, run_id).outputs for name, run_id in inputs.items()}


def lay_out(folder: Path, outputs: Mapping[str, Path]) -> Path:
    """A folder with a way into the outputs of each stage; for jobs of this machine.

    Made anew each time: it may be left over from a client that died, or from before a stage was
    done again.
    """
    private_folder(str(folder))
    for name, source in outputs.items():
        source.mkdir(parents=True, exist_ok=True, mode=0o700)  # a stage that hands on nothing
        link, part = folder / name, folder / f".{name}.new"
        part.unlink(missing_ok=True)
        part.symlink_to(source.absolute())
        os.replace(part, link)
    return folder


def beside(outputs: Mapping[str, Path]) -> dict[str, Path]:
    """The same as files that travel with a stage's own, by where they are to lie."""
    return {
        f"{INPUTS}/{name}/{path.relative_to(source)}": path
        for name, source in outputs.items()
        for path in sorted(source.rglob("*"))
        if path.is_file()
    }
