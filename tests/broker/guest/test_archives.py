"""Archives: what is packed comes out again, and whatever comes in stays in its folder."""

import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.broker.guest import archives, unpacking
from mlbroker.broker.guest.archives import LeftOut, inside
from mlbroker.broker.guest.packing import pack
from mlbroker.broker.guest.tar_reader import HEADER_BYTES, BadArchive
from mlbroker.broker.guest.unpacking import Unpacked, unpack

NAMES = [b"a", b"b", b"deep", b"..", b".", b"", b"d" * 247, b"n" * 300, b"x\xff", b"\x1b[2J"]
KINDS = [b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"Z"]


def header(name: bytes, kind: bytes = b"0", size: int = 0, link: bytes = b"") -> bytes:
    """One block as anybody may write it, with a sum that is right."""
    block = bytearray(512)
    block[:100] = name[:100].ljust(100, b"\0")
    block[100:108] = b"0006755\0"
    block[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block[136:148] = b"%011o\0" % 1_700_000_000
    block[156:157] = kind
    block[157:257] = link[:100].ljust(100, b"\0")
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * 32)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes, kind: bytes = b"0", data: bytes = b"", link: bytes = b"") -> bytes:
    """A member with its long names before it, where it has such."""
    long = b""
    for letter, text in ((b"L", name), (b"K", link)):
        if len(text) > 100:
            long += header(b"././@LongLink", letter, len(text) + 1) + padded(text + b"\0")
    return long + header(name, kind, len(data), link) + padded(data)


def end() -> bytes:
    return bytes(1024)


def unpacked(data: bytes, folder: Path, links: bool = False) -> Unpacked:
    folder.mkdir(exist_ok=True)
    return unpack(io.BytesIO(data), str(folder), links)


def packed(folder: Path, links: bool = False) -> bytes:
    stream = io.BytesIO()
    pack(str(folder), stream, links)
    return stream.getvalue()


def tree(folder: Path) -> dict[str, object]:
    """What lies there, links as links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize(
    "evil",
    [
        member(b"../outside", data=b"x"),
        member(b"/tmp/outside", data=b"x"),
        member(b"a/../../outside", data=b"x"),
        member(b"link", b"2", link=b"/etc") + member(b"link/outside", data=b"x"),
        member(b"link", b"2", link=b"../..") + member(b"link/outside", data=b"x"),
        member(b"hard", b"1", link=b"../outside"),
        member(b"pipe", b"6"),
        member(b"device", b"3"),
        member(b"n" * 256, data=b"x"),
        member(b"/".join([b"d" * 200] * 30), data=b"x"),
        member(b"/".join([b"d"] * 100), data=b"x"),
        member(b".", data=b"x"),
        member(b"", data=b"x"),
    ],
)
def test_what_leads_out_or_is_no_file_is_left_out(tmp_path: Path, evil: bytes, links: bool) -> None:
    found = unpacked(member(b"good", data=b"g") + evil + end(), tmp_path / "in", links)
    assert found.left_out.count >= 1
    assert [n for n, content in tree(tmp_path / "in").items() if content is not None] in (
        ["good"],
        ["good", "link/outside"],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_links_longer_than_a_path_lead_nowhere(tmp_path: Path) -> None:
    """Each step is short enough; all together are longer than any path, and end above the top."""
    component, steps = b"d" * 247, b"abcdefghijklmnop"
    data, path = b"", b""
    for step in steps:
        data += member(os.path.join(path, component), b"5")
        data += member(os.path.join(path, bytes([step])), b"2", link=component)
        path = os.path.join(path, component)
    deep = b"/".join(bytes([step]) for step in steps) + b"/" + b"l" * 254
    data += member(deep, b"2", link=b"../" * len(steps))
    data += member(b"escape", b"2", link=deep + b"/../../..")
    data += member(b"escape/victim", data=b"PWNED") + end()
    (tmp_path / "victim").write_text("mine")
    for links in (False, True):
        found = unpacked(data, tmp_path / f"in{links}", links)
        assert found.left_out.count > 0
    assert (tmp_path / "victim").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inFalse", "inTrue", "victim"]


def test_links_that_stay_inside_are_kept_only_where_they_are_wanted(tmp_path: Path) -> None:
    data = member(b"step-3/w", data=b"w") + member(b"latest", b"2", link=b"step-3") + end()
    assert unpacked(data, tmp_path / "kept", links=True).left_out.count == 0
    assert (tmp_path / "kept" / "latest" / "w").read_bytes() == b"w"
    assert str(unpacked(data, tmp_path / "not").left_out) == "latest (a link)"
    assert tree(tmp_path / "not") == {"step-3": None, "step-3/w": b"w"}


@pytest.mark.parametrize(
    ("depth", "target", "kept"),
    [
        (0, b"step", b"step"),
        (0, b"./a//b", b"a/b"),
        (0, b"..", None),
        (1, b"..", b".."),
        (2, b"../../x", b"../../x"),
        (2, b"../../../x", None),
        (0, b"a/..", None),  # where a is a link, this is above what it points to
        (0, b"/etc", None),
        (0, b"n" * 300, None),
    ],
)
def test_a_link_goes_up_no_further_than_the_top(
    depth: int, target: bytes, kept: bytes | None
) -> None:
    assert inside(depth, target) == kept


def test_nothing_is_written_through_a_link_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "mine")
    (tmp_path / "in" / "f").symlink_to(tmp_path / "file")
    found = unpacked(
        member(b"away/x", data=b"x") + member(b"f", data=b"new") + end(), tmp_path / "in"
    )
    assert found.left_out.count == 1
    assert list((tmp_path / "mine").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "in" / "f").read_bytes() == b"new"


def test_a_file_in_place_of_a_folder_and_twice_the_same(tmp_path: Path) -> None:
    data = member(b"a/b", data=b"1") + member(b"a", data=b"2") + member(b"f", data=b"1")
    data += member(b"f", data=b"22") + member(b"f/g", data=b"3") + member(b"f", b"5") + end()
    found = unpacked(data, tmp_path / "in")
    assert tree(tmp_path / "in") == {"a": None, "a/b": b"1", "f": b"22"}
    assert found.left_out.count == 3


def test_rights_are_the_owners_own_and_nothing_runs_as_another(tmp_path: Path) -> None:
    data = member(b"d", b"5") + member(b"d/f", data=b"x") + end()
    unpacked(data, tmp_path / "in")
    assert stat.S_IMODE((tmp_path / "in" / "d" / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "in" / "d").stat().st_mode) == 0o755
    assert (tmp_path / "in" / "d" / "f").stat().st_mtime == 1_700_000_000


def test_older_archives_and_those_of_others_are_read(tmp_path: Path) -> None:
    long = "ü" * 80 + "/" + "n" * 120
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
            for name in (
                "plain",
                "d/" * 20 + "f",
                *([] if form == tarfile.USTAR_FORMAT else [long]),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = 3
                tar.addfile(entry, io.BytesIO(b"abc"))
        folder = tmp_path / str(form)
        assert unpacked(stream.getvalue(), folder).left_out.count == 0
        assert (
            (folder / "plain").read_bytes() == (folder / ("d/" * 20) / "f").read_bytes() == b"abc"
        )


SPARSE = b"22 GNU.sparse.major=1\n"
DAMAGED = {
    "not an archive": b"junk\n",
    "nothing": b"",
    "cut off in a header": member(b"a", data=b"x" * 900)[:300],
    "cut off in a file": member(b"a", data=b"x" * 900)[:900],
    "no end": member(b"a", data=b"x"),
    "a sum that is wrong": b"b" + member(b"a")[1:] + end(),
    "a name of gigabytes": header(b"x", b"L", 4 << 30) + end(),
    "attributes of gigabytes": header(b"x", b"x", 4 << 30) + end(),
    "headers without end": (header(b"x", b"x", 0) * 100) + end(),
    "an attribute without length": header(b"x", b"x", 512) + padded(b"0 path=x\n") + end(),
    "an attribute that is too long": header(b"x", b"x", 9) + padded(b"99 path=x\n") + end(),
    "a size below nothing": header(b"x", b"x", 13) + padded(b"11 size=-5\n"[:13]) + header(b"a"),
    "a link with content": header(b"a", b"2", 512) + bytes(512) + end(),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_archive_is_said_to_be_one(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadArchive):
        unpacked(member(b"before", data=b"b") + data, tmp_path / "in")
    assert (tmp_path / "in" / "before").read_bytes() == b"b"


def test_a_sparse_file_is_no_plain_file(tmp_path: Path) -> None:
    data = header(b"x", b"x", len(SPARSE)) + padded(SPARSE) + member(b"holes", data=b"h") + end()
    assert unpacked(data, tmp_path / "in").left_out.count == 1
    assert tree(tmp_path / "in") == {}


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path) -> None:
    data = member(b"first", data=b"1") + header(b"huge", b"0", 1 << 50)
    with pytest.raises(OSError, match="huge needs 1,125,899,906,842,624 bytes of disk"):
        unpacked(data, tmp_path / "in")
    assert tree(tmp_path / "in") == {"first": b"1"}


def test_the_number_of_files_and_folders_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 10)
    with pytest.raises(BadArchive, match="more than 10"):
        unpacked(b"".join(member(b"%d/%d/f" % (n, n)) for n in range(9)) + end(), tmp_path / "in")
    assert len(tree(tmp_path / "in")) <= 10


paths = st.lists(st.sampled_from(NAMES), max_size=5).map(b"/".join)
absolute = paths.map(lambda path: b"/tmp/" + path)
entries = st.builds(
    member,
    paths | absolute,
    st.sampled_from(KINDS),
    st.sampled_from([b"", b"x", b"y" * 600]),
    paths | absolute,
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(entries, max_size=8),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), max_size=3),
)
def test_whatever_an_archive_says_nothing_outside_is_touched(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[bytes],
    links: bool,
    flips: list[tuple[int, int]],
) -> None:
    top = tmp_path_factory.mktemp("t")
    data = bytearray(b"".join(members) + end())
    for at, value in flips:
        data[at % len(data)] = value
    (top / "canary").write_text("alive")
    with suppress(BadArchive):
        unpacked(bytes(data), top / "in", links)
    assert sorted(path.name for path in top.iterdir()) == ["canary", "in"]
    assert (top / "canary").read_text() == "alive"
    real = str(top / "in")
    for path, folders, names in os.walk(top / "in"):
        for name in folders + names:
            found = os.path.join(path, name)
            assert stat.S_IFMT(os.lstat(found).st_mode) in (
                stat.S_IFREG, stat.S_IFDIR, *([stat.S_IFLNK] if links else []),
            )  # fmt: skip
            assert (
                os.path.realpath(found).startswith(real + os.sep) or os.path.realpath(found) == real
            )


def test_a_folder_comes_out_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "empty").mkdir(parents=True)
    (source / "deep" / "w").write_bytes(b"w" * 100_000)
    (source / os.fsdecode(b"na\xffme\n")).write_text("odd")
    (source / ("n" * 200)).mkdir()
    (source / ("n" * 200) / ("m" * 200)).write_text("long")
    os.link(source / "deep" / "w", source / "second")
    (source / "latest").symlink_to("deep")
    (source / "absolute").symlink_to(source / "deep" / "w")
    found = unpacked(packed(source, links=True), tmp_path / "again", links=True)
    assert found.left_out.count == found.missing.count == 0
    assert tree(tmp_path / "again") == {**tree(source), "absolute": "deep/w"}
    assert packed(source, links=True) == packed(source, links=True)
    with tarfile.open(fileobj=io.BytesIO(packed(source))) as tar:
        assert tar.getmember("absolute").isreg(), "a link to a file travels as the file"


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A folder with what no archive can hold."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "good").write_text("good")
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "out").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        yield folder


def test_what_cannot_be_packed_is_named_where_it_is_unpacked(odd: Path, tmp_path: Path) -> None:
    found = unpacked(packed(odd), tmp_path / "in")
    assert tree(tmp_path / "in") == {"good": b"good"}
    assert (found.left_out.count, found.missing.count) == (0, 5)
    for name in ("pipe", "dangling", "loop", "out", "socket"):
        assert f"{name} (" in str(found.missing)
    with tarfile.open(fileobj=io.BytesIO(packed(odd))) as tar:
        assert tar.getnames() == ["good", "."], "others read it too"


def test_deeper_than_is_unpacked_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ("d/" * 100)).mkdir(parents=True)
    assert "too long a name" in str(pack(str(tmp_path), io.BytesIO()).left_out)


class Meanwhile(io.BytesIO):
    """A stream during whose first long write something happens."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self._what: Callable[[], object] | None = what

    def write(self, data: object) -> int:
        if self._what is not None and len(data) > 5000:  # type: ignore[arg-type]
            self._what, what = None, self._what
            what()
        return super().write(data)  # type: ignore[arg-type]


def test_a_file_that_changes_while_it_is_packed(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    big = folder / "big"

    def append() -> None:
        with open(big, "ab") as file:
            file.write(b"more")

    for what, grew, torn in (
        (append, {b"big"}, set()),
        (lambda: os.truncate(big, 10), set(), {b"big"}),
        (lambda: big.write_bytes(b"y" * (3 << 20)), set(), {b"big"}),
    ):
        big.write_bytes(b"x" * (3 << 20))
        stream = Meanwhile(what)
        found = pack(str(folder), stream)
        assert (found.grew, found.torn) == (grew, torn)
        unpacked(stream.getvalue(), tmp_path / "in")
        assert (tmp_path / "in" / "big").stat().st_size == 3 << 20


def test_a_note_that_makes_no_sense_says_nothing() -> None:
    for note in (b"", b"{", b"[]", b'{"left_out": 3, "count": 1}', b'{"left_out": [7], "count": 1}',
                 b"[" * 100_000):  # fmt: skip
        left_out = LeftOut()
        left_out.learn(note)
        assert left_out.count == 0
    noisy = LeftOut()
    noisy.learn(b'{"left_out": ["\\u001b[2Jx\\n"], "count": 1e99}')
    assert str(noisy).isprintable()
    many = LeftOut()
    for n in range(archives.MOST_MEMBERS // 10_000):
        many.add(b"f%d" % n, "unreadable")
    again = LeftOut()
    again.learn(many.note())
    assert str(again) == str(many)
    assert str(many).endswith("and 80 more")
    assert len(many.note()) < HEADER_BYTES
