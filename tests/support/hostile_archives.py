"""Archives as a hostile guest might leave them, and the folders around that must not change."""

import bz2
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.support.mutations import hostile_bytes

KB, MB = 1 << 10, 1 << 20
# As outputs of a job that means no harm.
GOOD = {"model.bin": b"weights" * 400, "logs/train.txt": b"step 1\n", "logs/deep/er/x": b""}


@dataclass(frozen=True)
class Surroundings:
    """A folder that holds a state folder and what lies beside it, all of it off limits."""

    top: Path

    @classmethod
    def made(cls, top: Path) -> "Surroundings":
        for folder in ("ssh", "home/runs/other/outputs", "home/machines"):
            (top / folder).mkdir(parents=True)
        (top / "canary").write_text("untouched")
        (top / "ssh/authorized_keys").write_text("mine")
        (top / "home/runs/other/order.json").write_text("{}")
        (top / "home/runs/other/outputs/model").write_text("theirs")
        (top / "link-out").symlink_to("ssh")
        return cls(top)

    def seen(self, but: Collection[Path]) -> dict[str, tuple[object, ...]]:
        """What everything outside `but` is: kind, inode, mode, length, content."""
        found: dict[str, tuple[object, ...]] = {}
        for path, folders, names in os.walk(self.top):
            here = Path(path)
            folders[:] = [name for name in folders if here / name not in but]
            for name in [*folders, *names]:
                entry = here / name
                if entry not in but and not entry.name.startswith("ledger."):
                    found[str(entry.relative_to(self.top))] = _identity(entry)
        return found


def _identity(path: Path) -> tuple[object, ...]:
    # A folder's time and length change with what is put into it: its entries stand for themselves.
    about = path.lstat()
    kept: tuple[object, ...] = (about.st_ino, about.st_mode)
    if stat.S_ISLNK(about.st_mode):
        return (*kept, os.readlink(path))
    if stat.S_ISREG(about.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return (*kept, about.st_nlink, about.st_size, digest)
    return kept


def unsafe(folder: Path) -> list[str]:
    """What of an unpacked folder is no plain file or folder, or a link that leads out of it."""
    found = []
    top = os.path.realpath(folder)
    for path, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            entry = os.path.join(path, name)
            try:
                mode = os.lstat(entry).st_mode
            except OSError as error:
                found.append(f"beyond reach: {error.strerror}")
                continue
            if stat.S_ISLNK(mode):
                target = os.path.realpath(entry)
                if target != top and not target.startswith(top + os.sep):
                    found.append(f"link {entry} -> {os.readlink(entry)}")
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                found.append(f"neither file nor folder: {entry}")
            elif mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
                found.append(f"set-id: {entry}")
            elif stat.S_ISREG(mode) and os.lstat(entry).st_nlink > 1:
                found.append(f"shared with another name: {entry}")
    return found


def hostile_archive(chance: Random, around: Surroundings) -> bytes:
    """A good archive with hostile members among its own, at times no archive any more."""
    buffer = io.BytesIO()
    kind = chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        writer = _Writer(tar, chance, around)
        for name, data in GOOD.items():
            if chance.random() < 0.5:
                chance.choice(_TRICKS)(writer)
            writer.file(name, data)
        for _ in range(chance.randint(0, 3)):
            chance.choice(_TRICKS)(writer)
    data = buffer.getvalue()
    what = chance.random()
    if what < 0.1:
        return hostile_bytes(chance, data)
    if what < 0.15:
        return chance.choice((gzip.compress, bz2.compress))(data, 1)
    if what < 0.2:
        return data[: chance.randrange(len(data))]
    if what < 0.25:
        at = chance.randrange(len(data) - 512)
        return data[:at] + chance.randbytes(512) + data[at + 512 :]
    return data


class _Writer:
    def __init__(self, tar: tarfile.TarFile, chance: Random, around: Surroundings) -> None:
        self.tar = tar
        self.chance = chance
        self.top = around.top

    def add(self, name: str, type_: bytes, link: str = "", **more: object) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.mode = type_, link, 0o755
        data = b""
        for key, value in more.items():
            setattr(member, key, value)
        if member.isreg() and "size" not in more:
            data = b"PWNED"
            member.size = len(data)
        try:
            self.tar.addfile(member, io.BytesIO(data) if data else None)
        except (ValueError, OverflowError, UnicodeError):
            # This format of archives cannot say it.
            return

    def file(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))

    def victim(self) -> str:
        """A file outside, said in one of many ways."""
        up = "../" * self.chance.choice((1, 2, 3, 4, 5, 8))
        name = self.chance.choice(("canary", "ssh/authorized_keys", "ssh/new", "home/ledger.db"))
        top = str(self.top)
        ways = (
            up + name, f"{top}/{name}", f"/{top}/{name}", f"a/../{up}{name}", f"./{up}{name}",
            f"model.bin/../{up}{name}", f"logs/../../{up}{name}", up + "other/outputs/model",
        )  # fmt: skip
        return self.chance.choice(ways)


def _leaves(writer: _Writer) -> None:
    writer.add(writer.victim(), tarfile.REGTYPE)


def _through_a_link(writer: _Writer) -> None:
    """A link first, then a file through it, by name or by its pieces."""
    target = writer.chance.choice((str(writer.top / "ssh"), "../../../../ssh", "..", "/", "logs"))
    writer.add("out", writer.chance.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), target)
    name = writer.chance.choice(("out/authorized_keys", "out/canary", "out/../canary", "out"))
    writer.add(name, writer.chance.choice((tarfile.REGTYPE, tarfile.DIRTYPE)))


def _hard_link(writer: _Writer) -> None:
    """Another name for a file outside, then written to, or made unsafe by its mode."""
    writer.add("hard", tarfile.LNKTYPE, writer.victim())
    writer.add("hard", tarfile.REGTYPE, mode=0o7777)


def _links_in_a_chain(writer: _Writer) -> None:
    """Each link is harmless by itself."""
    writer.add("a", tarfile.SYMTYPE, ".")
    writer.add("a/b", tarfile.SYMTYPE, "..")
    writer.add("a/b/c", tarfile.SYMTYPE, "..")
    writer.add("b/c/" + writer.chance.choice(("canary", "../canary")), tarfile.REGTYPE)
    writer.add("loop", tarfile.SYMTYPE, "loop")
    writer.add("loop/x", tarfile.REGTYPE)


def _longer_than_a_path(writer: _Writer) -> None:
    """Links that resolve to more than PATH_MAX, where a lookup gives up and believes them."""
    part, steps = "d" * writer.chance.randint(200, 250), "abcdefghijklmnop"
    path = ""
    for step in steps:
        writer.add(os.path.join(path, part), tarfile.DIRTYPE)
        writer.add(os.path.join(path, step), tarfile.SYMTYPE, part)
        path = os.path.join(path, part)
    deep = os.path.join("/".join(steps), "l" * 254)
    up = writer.chance.randint(1, 6)
    writer.add(deep, tarfile.SYMTYPE, "../" * len(steps))
    writer.add("escape", tarfile.SYMTYPE, deep + "/.." * up)
    writer.add("escape/canary", tarfile.REGTYPE)


def _replaced(writer: _Writer) -> None:
    """The same name as a file, a folder and a link, in an order that may confuse."""
    kinds = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
    writer.chance.shuffle(kinds)
    for kind in kinds:
        writer.add("logs", kind, writer.victim())
        writer.add("logs/train.txt", tarfile.REGTYPE)


def _device(writer: _Writer) -> None:
    kind = writer.chance.choice((tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"D", b"Z"))
    writer.add("device", kind, devmajor=1, devminor=5)


def _odd_name(writer: _Writer) -> None:
    names = (
        "", ".", "..", "/", "//", "./", "x/", "x/.", "x//y", "\n::error::owned", "\x1b[2J",
        "\udcff", "n" * 300, "n" * 5000, "/".join(["d"] * 3000), "a\\..\\b", "con", "x\0y", "-rf",
        "é" * 200, "e\u0301", "\u202e", " ", "\t", "*", "model.bin", "MODEL.BIN", "model.bin/x",
    )  # fmt: skip
    name = writer.chance.choice(names)
    writer.add(name, writer.chance.choice((tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)), "x")


def _odd_size(writer: _Writer) -> None:
    """A length that the archive does not hold, or that no disk does."""
    size = writer.chance.choice((1, 511, 513, 2**33, 2**62, 10 * MB))
    writer.add("long", tarfile.REGTYPE, size=size)


def _lying_header(writer: _Writer) -> None:
    """An extended header that says something else than the plain one."""
    said = {
        "path": writer.chance.choice((writer.victim(), "x" * 70_000)),
        "linkpath": writer.victim(),
        "size": writer.chance.choice(("-1", "99999999999999999999", "1e9", "", "12")),
        "mtime": writer.chance.choice(("nan", "-1e300", "1e300", "inf", "x")),
        "uid": "-5",
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": writer.victim(),
        "GNU.sparse.realsize": str(2**60),
        "GNU.sparse.map": writer.chance.choice(("0,5", "0,x", "0,99999999999", "")),
        "hdrcharset": "BINARY",
    }
    names = writer.chance.sample(list(said), writer.chance.randint(1, 4))
    kind = writer.chance.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE))
    writer.add("plain", kind, "logs", pax_headers={name: said[name] for name in names})


def _odd_mode(writer: _Writer) -> None:
    writer.add("mode", tarfile.REGTYPE, mode=writer.chance.choice((0o6777, 0o1777, 0, 2**20)))
    writer.add("shut", tarfile.DIRTYPE, mode=0)
    writer.add("shut/in", tarfile.REGTYPE)
    writer.add("old", tarfile.REGTYPE, mtime=writer.chance.choice((-(2**40), 2**40, 1e12)))


def _many(writer: _Writer) -> None:
    for number in range(writer.chance.choice((50, 500))):
        writer.add(f"many/{number}", tarfile.REGTYPE, size=0)


_TRICKS: tuple[Callable[[_Writer], None], ...] = (
    _leaves, _through_a_link, _hard_link, _links_in_a_chain, _longer_than_a_path, _replaced,
    _device, _odd_name, _odd_size, _lying_header, _odd_mode, _many,
)  # fmt: skip
