"""Valid inputs, made hostile: types, sizes, depth, keys and encoding changed by a seeded chance."""

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

ODD_TEXTS = (
    "", " ", "\0", "\x1b[2J\x1b]0;owned\x07", "\r\n::set-output name=x::y", "\u202egpj.exe",
    "é" * 300, "\ud800", "x" * 100_000, "../../../canary", "/etc/passwd", "NaN", "-1", "1e400",
    "null", "%s%n", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+00:00", "2026-11-24T12:00:00",
    "9999-12-31T23:59:59.999999-23:59", "<html><body>503</body></html>", "${HOME}", "'; id; '",
    "\uff11\uff12",
)  # fmt: skip
ODD_NUMBERS = (
    0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**300, -(10**300), 1e308, -1e308, 5e-324, 0.5, -0.0,
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
WEIRD_DEPTH = 3000
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class _Huge:
    """Numbers and depths that `json.dumps` would not write stand in the text by these words."""

    words = {  # noqa: RUF012  # read only
        '"@deep list@"': "[" * 100_000,
        '"@deep map@"': '{"a":' * 100_000,
        '"@even list@"': "[" * WEIRD_DEPTH + "]" * WEIRD_DEPTH,
        '"@long number@"': "9" * 5000,
        '"@huge exponent@"': "1e400",
        '"@negative exponent@"': "-1e400",
        '"@half a pair@"': '"\\ud83d"',
    }


def odd_value(chance: Random) -> Any:
    """Something else than what belongs there."""
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice(ODD_NUMBERS)
    if kind == 1:
        return chance.choice(ODD_TEXTS)
    if kind == 2:
        return chance.choice((None, True, False, [], {}, [[]], [None], {"": None}))
    if kind == 3:
        return [odd_value(chance) for _ in range(chance.randint(1, 3))]
    if kind == 4:
        return {chance.choice(ODD_TEXTS[:8]): odd_value(chance)}
    if kind == 5:
        return chance.choice(list(_Huge.words)).strip('"')
    if kind == 6:
        return ["x"] * chance.choice((10, 20_000))
    return chance.choice((chance.uniform(-1e3, 1e12), chance.randint(-(10**6), 10**18)))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document and each key or index in it."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value[:50]))
    else:
        return
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def mutated(chance: Random, valid: Any, times: int | None = None) -> Any:
    """The document with one to three changes to its values and keys."""
    document = copy.deepcopy(valid)
    for _ in range(times or chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if not places or chance.random() < 0.03:
            document = odd_value(chance)
            continue
        holder, key = chance.choice(places)
        what = chance.random()
        if what < 0.6:
            holder[key] = odd_value(chance)
        elif what < 0.75:
            del holder[key]
        elif what < 0.85:
            other, at = chance.choice(places)
            # By value: a document that holds itself could not be written.
            holder[key] = copy.deepcopy(other[at]) if at in _keys(other) else None
        elif isinstance(holder, dict):
            holder[chance.choice(ODD_TEXTS[:10])] = holder[key]
        else:
            holder.extend(copy.deepcopy(holder[:1000]))
    return document


def _keys(holder: Any) -> Any:
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def written(document: Any) -> bytes:
    """As JSON, with what JSON writers refuse to write."""
    text = json.dumps(document)
    for word, stands_for in _Huge.words.items():
        text = text.replace(word, stands_for)
    return text.encode("utf-8", "surrogatepass")


def hostile_json(chance: Random, valid: Any) -> bytes:
    """A document's bytes, mostly with other values, at times no document any more."""
    if chance.random() < 0.75:
        return written(mutated(chance, valid))
    return hostile_bytes(chance, json.dumps(valid).encode())


def hostile_bytes(chance: Random, whole: bytes) -> bytes:
    """Bytes cut, changed, doubled, put in another encoding, or replaced altogether."""
    what = chance.randrange(9)
    if what == 0:
        return whole[: chance.randrange(len(whole) + 1)]
    if what == 1:
        return b""
    if what == 2:
        return HTML
    if what == 3:
        return whole.decode("utf-8", "replace").encode(chance.choice(("utf-16", "utf-8-sig")))
    if what == 4:
        return whole + whole
    if what == 5:
        return chance.choice((b"[" * 100_000, b'{"a":' * 100_000, b"null", b"0", b'"x"', b"NaN"))
    if what == 6:
        return chance.randbytes(chance.choice((1, 100, 5000)))
    changed = bytearray(whole)
    for _ in range(chance.choice((1, 3, 30))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


_XML_VALUE = re.compile(rb">([^<>]*)<")


def hostile_answer(chance: Random, body: bytes) -> bytes:
    """An API's answer, JSON or XML, with other values or no document any more."""
    try:
        return hostile_json(chance, json.loads(body))
    except ValueError:
        pass
    values = list(_XML_VALUE.finditer(body))
    if not values or chance.random() < 0.3:
        return hostile_bytes(chance, body)
    value = chance.choice(values)
    odd = str(odd_value(chance))[:5000].encode("utf-8", "replace")
    odd = odd.replace(b"&", b"&amp;").replace(b"<", b"&lt;")
    start, end = value.span(1)
    if chance.random() < 0.3:
        # The whole element goes, its tags included.
        start, end, odd = value.start() - 1, value.end() + 1, b""
    return body[: max(0, start)] + odd + body[end:]
