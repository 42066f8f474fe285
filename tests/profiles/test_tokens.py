"""What measurements tell of tokens, read with care; and the law of a step by its batch's size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.profiles.tokens import Size, step_law, tokens_of

TOLD = {
    "tokens_real": "600",
    "tokens_padded": "1000",
    "tokens_steps": "10",
    "tokens_by": "mask",
    "tokens_labelled": "300",
    "tokens_lengths": "8:2 16:30",
    "tokens_sizes": "5:100:1e+03:0.01 5:200:4000:0.02",
}


def test_what_is_told_is_read() -> None:
    tokens = tokens_of(TOLD)
    assert tokens is not None
    assert (tokens.padding_share, tokens.real_per_step) == (pytest.approx(0.4), 60)
    assert (tokens.labelled, tokens.labelled_share) == (300, pytest.approx(0.3))
    assert tokens.lengths == {8: 2, 16: 30}
    assert tokens.sizes == [Size(5, 100, 1000, 0.01), Size(5, 200, 4000, 0.02)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokens_real", "1001"),
        ("tokens_real", "-1"),
        ("tokens_padded", "0"),
        ("tokens_padded", "nan"),
        ("tokens_padded", "9" * 400),
        ("tokens_steps", "0"),
        ("tokens_by", "<script>"),
    ],
)
def test_what_cannot_be_is_not_believed(name: str, text: str) -> None:
    assert tokens_of(TOLD | {name: text}) is None


@pytest.mark.parametrize("text", ["", "1001", "-1", "nan"])
def test_labels_that_cannot_be_are_none(text: str) -> None:
    tokens = tokens_of(TOLD | {"tokens_labelled": text})
    assert tokens is not None
    assert (tokens.labelled, tokens.labelled_share) == (None, None)


@given(st.dictionaries(st.sampled_from(sorted(TOLD)), st.text(max_size=40)))
def test_any_words_are_survived(words: dict[str, str]) -> None:
    tokens = tokens_of(TOLD | words)
    if tokens is not None:
        assert 0 <= tokens.padding_share <= 1
        step_law(tokens.sizes)


def sizes(*slots: float, width: float = 50.0) -> list[Size]:
    """Steps of 2 ms + 3 µs·B·L + 10 ns·B·L², of rows whose width grows with the size."""
    found = []
    for n in slots:
        squares = n * width * n / slots[0]
        found.append(Size(9, n, squares, 0.002 + 3e-6 * n + 1e-8 * squares))
    return found


def test_the_law_of_three_sizes_is_found_and_holds_between_them() -> None:
    law = step_law(sizes(1000, 2000, 4000))
    assert law is not None
    assert law.fixed_s == pytest.approx(0.002, rel=0.01)
    assert law.per_slot_s == pytest.approx(3e-6, rel=0.01)
    assert law.per_square_s == pytest.approx(1e-8, rel=0.01)
    between = sizes(1000, 3000)[1]
    assert law.step_s(between.slots, between.squares) == pytest.approx(between.time_s, rel=0.01)


def test_two_sizes_tell_of_no_square() -> None:
    law = step_law(sizes(1000, 2000))
    assert law is not None
    assert law.per_square_s == 0


@pytest.mark.parametrize(
    "seen",
    [
        [],
        sizes(1000),
        sizes(1000, 1100, 1200),
        [size._replace(steps=2) for size in sizes(1000, 2000, 4000)],
        [Size(9, 1000, 5e4, 0.1), Size(9, 2000, 2e5, 0.01), Size(9, 4000, 8e5, 0.1)],
    ],
)
def test_what_was_not_seen_is_unknown(seen: list[Size]) -> None:
    assert step_law(seen) is None
