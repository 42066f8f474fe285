"""Checks the regular expressions that read numbers out of a job's output."""

import re

from mlbroker.broker.errors import InputError

_HINT = r"for example 'step (\d+)/' or 'step=(?P<step>\d+)'"
_MAX_LENGTH = 500


def parse_progress_regex(text: str) -> str:
    """`text` as a usable expression: it compiles, has a group for the step, and ends in time."""
    return usable_regex(text, "the step number", _HINT)


def usable_regex(text: str, sought: str, hint: str) -> str:
    """`text`, where it compiles, has a group for what is `sought`, and ends in time."""
    if len(text) > _MAX_LENGTH:
        raise InputError(f"is longer than {_MAX_LENGTH} characters", hint=hint)
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"is not a regular expression: {error}", hint=hint) from None
    if compiled.groups == 0:
        raise InputError(f"has no group for {sought}", hint=hint)
    if _repeats_a_repeat(text):
        raise InputError(
            "repeats a group that is itself all repetition, which can take for ever",
            hint=f"put something fixed into the group; {hint}",
        )
    return text


def _repeats_a_repeat(pattern: str) -> bool:
    r"""Whether a group like `(a+)+`, `(\d*|x)*` or `((\w+))+` occurs: exponential backtracking.

    A branch with an unbounded repeat and nothing fixed beside it can split a text in 2^n ways
    when the group around it is repeated too.
    """
    # For each open group: [a branch was nothing but repetition, fixed atoms, unbounded repeats].
    groups: list[list[int]] = [[0, 0, 0]]
    atoms = re.compile(
        r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P<\w+>|<[=!]|[:=!>]|[a-zA-Z-]+:))?|\)|\||.", re.S
    )
    quantifier = re.compile(r"(?:([*+])|(\?)|\{(\d*)(,?)(\d*)\})[?+]?")
    position = 0
    while position < len(pattern):
        atom = atoms.match(pattern, position)
        if atom is None:
            break
        position = atom.end()
        if atom[0].startswith("("):
            groups.append([0, 0, 0])
            continue
        if atom[0] == "|":
            _end_branch(groups[-1])
            continue
        only_repeats = False
        if atom[0] == ")" and len(groups) > 1:
            _end_branch(groups[-1])
            only_repeats = bool(groups.pop()[0])
        many, optional, position = _quantified(quantifier.match(pattern, position), position)
        if only_repeats and many:
            return True
        if many or only_repeats:
            groups[-1][2] += 1
        elif not optional and atom[0] not in "^$":
            groups[-1][1] += 1
    return False


def _end_branch(group: list[int]) -> None:
    only_repeats, fixed, repeats = group
    group[:] = [int(only_repeats or (repeats > 0 and fixed == 0)), 0, 0]


def _quantified(found: re.Match[str] | None, position: int) -> tuple[bool, bool, int]:
    """Whether what stands before repeats without bound, whether it may be absent, what follows."""
    if found is None:
        return False, False, position
    many = bool(found[1]) or (bool(found[4]) and not found[5]) or int(found[5] or 0) > 20
    optional = found[1] == "*" or bool(found[2]) or found[3] in ("", "0")
    return many, optional, found.end()
