"""Whether a job installs what was compiled for x86-64: the names of such packages say so."""

import re
from collections.abc import Iterator
from pathlib import Path

from mlbroker.broker.files.remarks import Remarks
from mlbroker.profiles.job import ResourceOption

# Wheels name their platform (PEP 427); PyTorch's index and versions for CUDA are x86-64's.
_X86 = re.compile(r"(?:x86_64|amd64)\.whl\b|\+cu\d{2,3}\b|/whl/cu\d{2,3}\b")
_ARM = re.compile(r"(?:aarch64|arm64)\.whl\b|platform_machine\b")
_REQUIREMENTS = re.compile(r"(?:-r|--requirements?)[ =]*([^\s;&|'\"]+)")
_MOST_BYTES = 1 << 20


def with_their_arch(
    resources: tuple[ResourceOption, ...],
    texts: tuple[str, ...],
    folder: Path | None,
    remarks: Remarks,
) -> tuple[ResourceOption, ...]:
    """The alternatives that leave the architecture open, for x86-64 where the job's set-up and
    command (`texts`), or a requirements file that they name, install packages for it alone.
    """
    found = list(_installed(texts, folder))
    where = next((name for name, text in found if _X86.search(text)), None)
    if where is None or any(_ARM.search(text) for _, text in found):
        return resources
    fitted = tuple(_fitted(option) for option in resources)
    if fitted != resources:
        remarks.said.append(
            f"{where} installs what is compiled for x86-64: other machines are left out; "
            "`arch: arm64` under `resources:` takes them."
        )
    return fitted


def _fitted(option: ResourceOption) -> ResourceOption:
    needs = option.requirements
    if needs.arch is not None or option.instance_type is not None:
        return option
    return option._replace(requirements=needs._replace(arch="x86_64"))


def _installed(texts: tuple[str, ...], folder: Path | None) -> Iterator[tuple[str, str]]:
    """What is installed, in the words of those who say so, by where they stand."""
    for text in texts:
        yield "The job", _without_comments(text)
        for name in _REQUIREMENTS.findall(text) if folder is not None else ():
            try:
                with open(folder / name, encoding="utf-8", errors="replace") as file:
                    yield name, _without_comments(file.read(_MOST_BYTES))
            except (OSError, ValueError):
                continue  # made by the set-up itself, or missing, which it will say


def _without_comments(text: str) -> str:
    return re.sub(r"(?m)(?:^|\s)#.*$", "", text)
