"""The remedies that `profile --try` names."""

from collections.abc import Callable, Mapping
from typing import Any

from mlbroker.broker.errors import InputError


def arms_of(text: str) -> list[str]:
    """`--try`: `trim,group,bf16,workers=4`; InputError where a remedy is none, or twice there."""
    found: list[str] = []
    for word in text.split(","):
        name, _, value = word.strip().partition("=")
        found.append(_REMEDIES[name](value) if name in _REMEDIES else _unknown(word))
    names = [word.partition("=")[0] for word in found]
    if len(set(names)) < len(names):
        raise InputError("a remedy stands there twice", where="--try", hint=_HINT)
    return found


def _trim(value: str) -> str:
    return "trim" if not value else _unknown(f"trim={value}")


def _bf16(value: str) -> str:
    return "bf16" if not value else _unknown(f"bf16={value}")


def _group(value: str) -> str:
    from mlbroker.broker.files.job_nlp import parse_group

    return f"group={parse_group(value) if value else 50}"


def _workers(value: str) -> str:
    if not value.isdigit() or not 0 < int(value) <= 64:
        _unknown(f"workers={value}")
    return f"workers={int(value)}"


def _unknown(word: str) -> Any:
    raise InputError(f"'{word}' is no remedy", where="--try", hint=_HINT)


_REMEDIES: Mapping[str, Callable[[str], str]] = {
    "trim": _trim,
    "group": _group,
    "bf16": _bf16,
    "workers": _workers,
}
_HINT = "trim, group or group=N, bf16, workers=N, with commas between: --try trim,group"
