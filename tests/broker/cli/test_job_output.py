"""A job's output on a person's terminal: its words and colours, and no order to the terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.cli.job_output import JobLines, JobOutput


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\n", ["plain"]),
        ("dos\r\n", ["dos"]),
        ("\r 10%\r 50%\r100%\n", ["100%"]),
        ("1/3\b\b\b2/3\b\b\b3/3\n", ["3/3"]),
        ("\x1b[31mred\x1b[0m\n", ["\x1b[31mred\x1b[0m\x1b[0m"]),
        ("\x1b[2J\x1b[Hcleared\x1b[5A\x1b[?1049h\n", ["cleared"]),
        ("\x1b]0;a title\x07and \x1b]52;c;aGk=\x1b\\words\n", ["and words"]),
        ("\x1b]0;never ended\nnext\n", ["", "next"]),
        ("\x1bcreset\x1b(0\x1b7\n", ["reset"]),
        ("\x9b2J\x9d0;c1\x9c\u202e\n", ["\\x9b2J\\x9d0;c1\\x9c\\u202e"]),
        ("bell\a\n", ["bell"]),
        ("héllo →\n", ["héllo →"]),
        ("\tindented\n", ["\tindented"]),
        ("open", []),
    ],
)
def test_lines_and_colours_stay_and_orders_go(written: str, shown: list[str]) -> None:
    assert JobLines().read(written.encode()) == shown


@given(st.lists(st.binary(max_size=12)))
def test_however_it_comes_in_pieces_nothing_but_colours_is_obeyed(pieces: list[bytes]) -> None:
    lines = JobLines()
    seen = [line for piece in pieces for line in lines.read(piece)]
    assert seen == JobLines().read(b"".join(pieces))
    for line in [*seen, lines.unfinished]:
        assert re.fullmatch(r"(\x1b\[[0-9;:]*m|[^\x00-\x08\x0a-\x1f\x7f-\x9f])*", line)


class Tty(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "alone", "shown"),
    [
        (io.TextIOWrapper, True, b"a\r1%\x1b[2J\r2%"),
        (Tty, True, b"a\r\x1b[K1%\r\x1b[K2%\n"),
        (Tty, False, b"2%\n"),
    ],
)
def test_bytes_are_untouched_but_on_a_terminal(
    kind: type[io.TextIOWrapper], alone: bool, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    raw = io.BytesIO()
    output = JobOutput(kind(raw, encoding="utf-8", newline=""), alone=alone)
    for piece in (b"a", b"\r1%\x1b[2J", b"\r2%"):
        output.write(piece)
    output.close()
    assert raw.getvalue() == shown
