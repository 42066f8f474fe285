"""The `nlp:` section of a job file's `broker:` block: what the probe does to its text batches."""

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_count, parse_flag
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.profiles.job import TextRemedies

KNOWN = ("trim", "group")
# Larger windows hold hardly less padding, and less of the chance in which rows meet.
MOST_BATCHES = 1000


def read_nlp(block: Fields, key: str) -> TextRemedies:
    """The section at `key`; InputError names the line and the key of what is wrong."""
    nlp = block.section(key)
    assert nlp is not None  # null values were left out by the caller
    nlp.refuse_unknown(KNOWN)
    return TextRemedies(nlp.value("trim", parse_flag) or False, nlp.value("group", parse_group))


def parse_group(text: str) -> int:
    """How many batches are made at a time."""
    batches = parse_count(text, MOST_BATCHES)
    if batches < 2:
        raise InputError(
            f"{quoted(text)} makes no batches of like lengths", hint="2 or more, for example 50"
        )
    return batches
