"""The guard on progress expressions: the usual ones pass, the explosive ones do not."""

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.progress_regex import parse_progress_regex


@pytest.mark.parametrize(
    "pattern",
    [
        r"step (\d+)/",
        r"step=(?P<step>\d+)",
        r"^\s*\[(\d+)/\d+\]",
        r"step (\d+(?:,\d+)*)",
        r"(?:epoch \d+, )?iter(?:ation)?s?\s*[:=]\s*(\d+)",
        r"(?:loss [\d.]+ )*step (\d+)",
        r"(\d{1,3}(?:\.\d{3})*)",
        r"\((\d+)\)[)(+*]+",
        r"(?i:step) (\d+)",
        r"([^]]+)\]",
    ],
)
def test_usual_expressions_pass(pattern: str) -> None:
    assert parse_progress_regex(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    [r"(a+)+$", r"(\d*)*x", r"((\w+))+:", r"(?:\s*|x)*y(\d)", r"(.*)*,", r"(a?b*)+c",
     r"(?P<step>\d+)+ of", r"([a-z]+){2,}", r"(\w+\s?)*!", r"(\d{1,50})+x", r"(x|(a+)*)"],
)  # fmt: skip
def test_explosive_expressions_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="for ever"):
        parse_progress_regex(pattern)


@pytest.mark.parametrize(
    "pattern", ["(", "[", "(?P<1>x)", "*a", "(" * 200, "a" * 501, "(?<=a+)(b)"]
)
def test_broken_expressions_are_refused(pattern: str) -> None:
    with pytest.raises(InputError):
        parse_progress_regex(pattern)
