"""Refuses options that would change nothing: who gives one expects something of it."""

from mlbroker.broker.errors import InputError


def no_effect(why: str, **given: object) -> None:
    """Refuse the first that was given; `why` ends the sentence "has no effect …"."""
    for name, value in given.items():
        if value:
            raise InputError(f"has no effect {why}", where=f"--{name.replace('_', '-')}")
