"""The job's output: shown to who counts steps, secrets masked wherever they are cut."""

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.guest.output import Output, unmasked


def unread(line: bytes) -> None:
    """Nobody counts."""


def passed(chunks: list[bytes], secrets: list[str]) -> Output:
    output = Output(io.BytesIO(), secrets, unread)  # type: ignore[arg-type]
    for chunk in chunks:
        output.feed(chunk)
        output.tick()
    output.tick(final=True)
    return output


def text_of(output: Output) -> bytes:
    log = output._log
    assert isinstance(log, io.BytesIO)
    return log.getvalue()


@given(
    st.lists(st.sampled_from(["hunter22", "x", "\n", "\r", "hunter", "22", "é"]), max_size=30),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_a_secret_is_masked_however_it_is_cut(words: list[str], cuts: list[int]) -> None:
    data = "".join(words).encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in pairwise(edges)]
    shown = text_of(passed(chunks, ["hunter22"]))
    assert b"hunter22" not in shown
    assert shown == data.replace(b"hunter22", b"***")


def test_a_line_that_does_not_end_is_let_go_without_the_start_of_a_secret() -> None:
    output = Output(io.BytesIO(), ["hunter22"], unread)  # type: ignore[arg-type]
    output.feed(b"Password? hunt")
    output._held_since -= 10
    output.tick()
    assert text_of(output) == b"Passwor"
    output.feed(b"er22\n")
    assert text_of(output) == b"Password? ***\n"


def test_lines_of_a_secret_with_several_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBBCCCC\n-----END KEY-----"
    shown = text_of(passed([b"> AAAABBBBCCCC <\n"], [key]))
    assert shown == b"> *** <\n"


def test_short_secrets_and_trimmed_lines_are_masked() -> None:
    secrets = ["hunt9x\n", " 1234\r\nabcd\r\n"]
    assert text_of(passed([b"pw=hunt9x end\n", b"pin 1234\n"], secrets)) == b"pw=*** end\npin ***\n"
    # A letter is in every word: it is told at the launch, and not masked.
    assert text_of(passed([b"banana abc\n"], ["a", "abc"])) == b"banana abc\n"
    told = {"A": "abcd", "B": "abc", "C": "long enough\nab\n", "D": "long\n\nlines\n"}
    assert unmasked(told) == ["B", "C"]
    assert text_of(passed([b"\xff1234\n"], ["\udcff1234"])) == b"***\n"


@given(st.lists(st.sampled_from(["hunt9x", "a much longer secret", "a much", " x"]), max_size=12))
def test_no_secret_is_cut_where_a_line_is_let_go(words: list[str]) -> None:
    secrets = ["hunt9x", "a much longer secret"]
    output = Output(io.BytesIO(), secrets, unread)  # type: ignore[arg-type]
    for word in words:
        output.feed(word.encode())
        output._held_since -= 10
        output.tick()
    output.tick(final=True)
    shown = "".join(words).replace("a much longer secret", "***").replace("hunt9x", "***")
    assert text_of(output) == shown.encode()


def test_a_full_disk_costs_output_not_the_job() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    output = Output(Full(), [], unread)  # type: ignore[arg-type]
    output.feed(b"line\n")
    assert output.dropped_bytes == 5


def test_what_a_full_disk_does_not_take_is_counted() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        read: list[bytes] = []
        output = Output(full, [], read.append)
        output.feed(b"::mlbroker step=1\n")
        output.tick(final=True)
    assert (read[0], output.dropped_bytes) == (b"::mlbroker step=1", 18)
