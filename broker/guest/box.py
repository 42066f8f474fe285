"""The folder a run lives in on its machine: what to do, how it goes, how it ended."""

import contextlib
import errno
import json
import os
import stat
from typing import Any, BinaryIO, Collection, Dict, Optional

SPEC, STATUS, END, STOP, LOG = "spec.json", "status.json", "end.json", "stop", "log"
# Of a box that a scheduler started: its last files are saved, and nobody of it is left.
OVER = "over"
ALIVE, STARTED, PREVENTED = "alive", "started\n", "prevented\n"
CHECKPOINT, RESTORE, BUNDLE = "checkpoint.tar", "restore.tar", "bundle.tar.gz"
OUTPUTS, WORK = "outputs", "work"
# In the work directory of a stage: what the stages before it hand on.
INPUTS = ".mlbroker-inputs"
# Where the hooks in the job's Pythons count its steps.
STEPS = "steps"
# What the shell is given; by its time it is told what the job has written since.
SETUP_SCRIPT, RUNNING = "setup.sh", "running.sh"
# As which the outputs travel; on no disk but that of who wants them.
OUTPUTS_TAR = "outputs.tar"
# These are written when the disk may be full: their room is taken before anything runs.
ROOM_BYTES = {END: 8192, STOP: 512}
# What is nested deeper, or larger, is none of ours. A larger file is not even read: it is looked at
# every few seconds. A spec holds the job's file, of a megabyte, of six bytes a letter at most.
DEEPEST, READ_BYTES, SPEC_BYTES = 16, 1 << 14, 1 << 23
# Of more steps every other one is forgotten: batches tell as much, and the end has little room.
MOST_POINTS = 64
# What is told of a training beside its steps: see `profiles.noise_seen`.
TRAINING = (
    "noise_told", "noise_batch", "noise_per_batch", "noise_sigma", "noise_unknown", "batch_norm",
    "schedule",
)  # fmt: skip
# Asked to end because another machine of the run did.
FOLLOWS = "another_failed"
# Inside the guest program: the folder of what jobs may import.
PROBE = "probe"


def private_folder(path: str) -> None:
    """Make it, and what is missing above it, for this user alone, whatever the umask."""
    above = os.path.dirname(path)
    if above and not os.path.isdir(above):
        private_folder(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def clear(folder: str, but: Collection[str] = ()) -> None:
    """Remove what is in a folder, save the entries of these names."""
    import shutil  # with its compressors, which readers of the state folder never need

    for entry in os.scandir(folder):
        if entry.name in but:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


def write(box: str, name: str, text: str, durable: bool = True) -> None:
    """Replace a file as a whole: readers see the old text or the new, never a part."""
    path = os.path.join(box, name)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        # Half a file only makes a full disk fuller.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(box: str, name: str, value: Dict[str, Any], durable: bool = True) -> None:
    """Replace a JSON file as a whole."""
    write(box, name, json.dumps(value, sort_keys=True), durable)


def reserve(box: str) -> None:
    """Take the room of what is written last, as blanks."""
    for name, size in ROOM_BYTES.items():
        write(box, name, " " * size)


def write_reserved(box: str, name: str, text: str) -> None:
    """Write over the blanks, in their place: a disk has no need to find room for it."""
    data = text.encode("utf-8", "replace").ljust(ROOM_BYTES[name])
    try:
        file = os.open(os.path.join(box, name), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.pwrite(file, data, 0)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:
        # The blanks are gone, or lie on a disk that writes nothing to the same place twice.
        write(box, name, text)


def write_end(
    box: str, why: str, exit_code: Optional[int], detail: Optional[str], **more: Any
) -> None:
    """How the job ended: the one record that a full disk must not prevent."""
    record = dict(more, why=why, exit_code=exit_code, detail=detail[:500] if detail else None)
    write_reserved(box, END, json.dumps(record, sort_keys=True))


def plain_file(box: str, name: str) -> BinaryIO:
    """A file of the box to read; OSError for what would never end or make its reader wait."""
    # The job may have put a pipe or a device there: without this, opening it might not return.
    descriptor = os.open(os.path.join(box, name), os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", name)
    return open(descriptor, "rb")


def read(box: str, name: str) -> Optional[str]:
    """A file's text; None when it is not there, blank so far, or larger than any of ours."""
    most = SPEC_BYTES if name == SPEC else READ_BYTES
    try:
        with plain_file(box, name) as file:
            if os.fstat(file.fileno()).st_size > most:
                return None
            text = file.read(most).decode("utf-8", "replace")
    except OSError:
        return None
    return text if text.strip() else None


def vanished(box: str) -> bool:
    """Whether somebody removed the box under its run; a disk that fails does not count as that."""
    try:
        os.stat(os.path.join(box, ALIVE))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def read_json(box: str, name: str) -> Optional[Dict[str, Any]]:
    """A JSON file's content; None when it is not there, not whole, or nothing of ours."""
    text = read(box, name)
    try:
        value = json.loads(text, parse_int=_whole) if text else None
    except (ValueError, RecursionError):
        return None
    # Of a spec, which may be large, nothing is passed on but words.
    is_ours = isinstance(value, dict) and (name == SPEC or _within(value, DEEPEST))
    return value if is_ours else None


def _whole(digits: str) -> Optional[int]:
    return int(digits) if len(digits) < 20 else None


def _within(value: Any, levels: int) -> bool:
    """Whether nothing is nested deeper: what is cannot be written out again."""
    layer = [value]
    for _ in range(levels):
        inner = [each.values() if isinstance(each, dict) else each for each in layer]
        layer = [one for each in inner for one in each if isinstance(one, (dict, list))]
        if not layer:
            return True
    return False
