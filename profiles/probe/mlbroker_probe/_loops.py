"""Whether a place in the running code comes again: what is made in a loop has an epoch's total."""

import dis
import os
from types import CodeType
from typing import Any, Dict, Optional, Set, Tuple

_STANDARD_LIBRARY = os.path.dirname(os.__file__)
_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE")
_ALWAYS = ("JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
_known: Dict[Tuple[CodeType, int], bool] = {}


def loop_around(frame: Any) -> Optional[str]:
    """`FILE:LINE` of the innermost caller that will come here again; None where there is none.

    Loops of the standard library, and those over callbacks, call many things once each.
    """
    while frame is not None:
        code = frame.f_code
        if not _calls_others(frame) and _comes_again(code, frame.f_lasti):
            return "%s:%d" % (os.path.basename(code.co_filename), frame.f_lineno)
        frame = frame.f_back
    return None


def outside(library: str, frame: Any) -> Any:
    """The innermost frame that is none of this library's; None where all are."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] != library:
            return frame
        frame = frame.f_back
    return None


def _calls_others(frame: Any) -> bool:
    path, name = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
    own_library = path.startswith(_STANDARD_LIBRARY) and "-packages" not in path
    return own_library or path.startswith("<frozen") or "callback" in name


def _comes_again(code: CodeType, place: int) -> bool:
    if (code, place) not in _known:
        _known[code, place] = _reaches_itself(code, place)
    return _known[code, place]


def _reaches_itself(code: CodeType, place: int) -> bool:
    steps = list(dis.get_instructions(code))
    at = max((n for n, step in enumerate(steps) if step.offset <= place), default=0)
    if steps[at].opname == "FOR_ITER":
        return False  # asked for the next item of its own loop: what it iterates was made before
    index = {step.offset: n for n, step in enumerate(steps)}
    seen: Set[int] = set()
    left = [at + 1]
    while left:
        n = left.pop()
        if n in seen or n >= len(steps):
            continue
        seen.add(n)
        step = steps[n]
        if "JUMP" in step.opname or step.opname in ("FOR_ITER", "SEND"):
            target = index.get(step.argval)
            if target is not None:
                left.append(target)
        if step.opname not in _ENDS + _ALWAYS:
            left.append(n + 1)
    return at in seen
