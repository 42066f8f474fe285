"""What a run brings home: its output folder, and of its copy of the work directory what is named.

Where nothing is named, and nothing left in the output folder, what is new and small in the copy.
"""

import os
import stat
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from . import box as files
from .packing import Packer, Writable, below, pack_below, target_inside

# As much as is kept that nobody asked for.
KEPT_BYTES, KEPT_FILES = 100_000_000, 1_000
# Which Python makes again by itself.
_MADE_AGAIN = "__pycache__"


def pack_outputs(box: str, stream: Writable) -> None:
    """Write the archive of a run's outputs; nothing where there are none."""
    packer = Packer(stream)
    own = os.path.join(box, files.OUTPUTS)
    if os.path.isdir(own):
        pack_below(packer, own)
    spec = files.read_json(box, files.SPEC) or {}
    named, theirs = spec.get("outputs"), spec.get("workdir")
    work = str(theirs or os.path.join(box, files.WORK))
    # In the user's own folder everything is at home already; a stage hands on what is named.
    if isinstance(named, list) and not (theirs and not spec.get("inputs")) and os.path.isdir(work):
        if named:
            _pack_named(packer, work, own, [str(each) for each in named], _is_first(spec))
        elif not theirs and not packer.files:
            _pack_new(packer, work, box, spec.get("checkpoint"))
    if packer.files or packer.left_out:
        packer.close()


def _is_first(spec: Dict[str, Any]) -> bool:
    facts = spec.get("facts")
    return not isinstance(facts, dict) or facts.get("MLBROKER_NODE_RANK", "0") == "0"


def _pack_named(packer: Packer, work: str, own: str, named: List[str], says_missing: bool) -> None:
    patterns = {each: tuple(p for p in each.split("/") if p not in ("", ".")) for each in named}
    found: Set[str] = set()
    top = os.fsencode(work)
    for name, seen in below(top, packer.left_out):
        parts = os.fsdecode(name).split("/")
        fits = {each for each, pattern in patterns.items() if matches(parts, pattern)}
        found |= fits
        if not fits or stat.S_ISDIR(seen.st_mode) or parts[0] == files.INPUTS:
            continue
        if os.path.lexists(os.path.join(os.fsencode(own), name)):
            packer.left_out.add(name, "$MLBROKER_OUTPUT_DIR has one of this name")
        else:
            _pack_file(packer, top, name, seen)
    # Of several machines it is mostly the first that saves.
    for each in sorted(set(named) - found if says_missing else ()):
        packer.left_out.add(os.fsencode(each), "nothing of this name was there")


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path, or a folder that it is in, is what a pattern names; `**` is any folders."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(matches(parts[n:], pattern[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def _pack_file(packer: Packer, top: bytes, name: bytes, found: os.stat_result) -> None:
    is_link = stat.S_ISLNK(found.st_mode)
    if is_link and target_inside(top, name) is None:
        packer.left_out.add(name, "a link that leads out of the work directory")
    elif is_link and os.path.isdir(os.path.join(top, name)):
        packer.left_out.add(name, "a link to a folder: name that one")
    else:
        packer.file(name, os.path.join(top, name), follow=is_link)


def _pack_new(packer: Packer, work: str, box: str, checkpoint: object) -> None:
    since = job_began_ns(box)
    if since is None:
        return
    path = checkpoint.get("path") if isinstance(checkpoint, dict) else None
    saved = str(path).split("/") if path else None
    saved = [part for part in saved if part not in ("", ".")] if saved else None
    top = os.fsencode(work)
    new: List[Tuple[bool, int, int, bytes, os.stat_result]] = []
    for name, found in below(top, packer.left_out):
        parts = os.fsdecode(name).split("/")
        # A checkpoint comes home by itself.
        skipped = _MADE_AGAIN in parts or (saved and parts[: len(saved)] == saved)
        if stat.S_ISREG(found.st_mode) and found.st_ctime_ns > since and not skipped:
            hidden = any(part.startswith(".") for part in parts)
            new.append((hidden, len(parts), found.st_size, name, found))
    # A result lies nearer to the top than data, packages and caches that were fetched.
    room, count = KEPT_BYTES, 0
    for _, _, size, name, found in sorted(new, key=lambda each: each[:4]):
        if size > room or count >= KEPT_FILES:
            too_much = "{:,} bytes, beyond what is kept unasked: list it under `outputs:`"
            packer.left_out.add(name, too_much.format(size))
            continue
        room, count = room - size, count + 1
        _pack_file(packer, top, name, found)


def job_began_ns(box: str) -> Optional[int]:
    """When `run` began, by the clock of the box's disk; None where it never did."""
    try:
        return os.stat(os.path.join(box, files.RUNNING)).st_mtime_ns
    except OSError:
        return None
