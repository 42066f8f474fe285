"""The generated parts of docs/architecture.md: packages, who imports whom, and the glossary."""

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from markers import table
from structure import PACKAGES, ROOT, RUN_BY_PATH, modules

# The words of the field as this project uses them: where each is defined.
_TERMS = (
    ("job", "mlbroker.profiles.job:Job"),
    ("measurement", "mlbroker.profiles.measurement:Measurement"),
    ("prediction", "mlbroker.profiles.prediction:Prediction"),
    ("offer", "mlbroker.pricing.offer:Offer"),
    ("quote", "mlbroker.policies.quote:Quote"),
    ("rejection", "mlbroker.policies.quote:Rejection"),
    ("plan", "mlbroker.policies.planner.plan:Plan"),
    ("launch option", "mlbroker.broker.runs.order:LaunchOption"),
    ("order", "mlbroker.broker.runs.order:Order"),
    ("intent", "mlbroker.broker.clouds.interface:Intent"),
    ("machine", "mlbroker.broker.clouds.interface:Machine"),
    ("run", "mlbroker.broker.ledger:Run"),
    ("attempt", "mlbroker.broker.ledger:Attempt"),
)


def package_map() -> str:
    """Every package with what it is for, in the order in which data flows."""
    sources = modules()
    rows = []
    for folder in sorted({path.parent for path in sources}, key=_in_order):
        doc = ast.get_docstring(ast.parse(sources.get(folder / "__init__.py", "")))
        if doc and not folder.is_relative_to(RUN_BY_PATH):
            rows.append([f"[`{folder}/`](../{folder})", doc.splitlines()[0]])
    return table(["package", "what it is for"], rows)


def imports() -> str:
    """Which packages of the shell and the core each package imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, source in modules().items():
        room = _room(path.parts)
        for module in _imported(source):
            other = _room(module.split(".")[1:])
            if other != room:
                found[room].add(other)
    rows = [
        [f"`{room}`", " ".join(f"`{other}`" for other in sorted(found[room], key=_name_order))]
        for room in sorted(found, key=_name_order)
    ]
    return table(["package", "imports"], rows)


def glossary() -> str:
    """The project's words, each in the sentence of the class that it names."""
    rows = []
    for term, place in _TERMS:
        module, name = place.split(":")
        doc = getattr(importlib.import_module(module), name).__doc__
        rows.append([term, " ".join(doc.split("\n\n")[0].split()), f"`{name}`"])
    return table(["word", "means", "class"], rows)


def _imported(source: str) -> Iterable[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlbroker."):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("mlbroker."))


def _room(parts: Iterable[str]) -> str:
    """The core's packages are whole; the shell's are its folders, or `broker` for what is above."""
    top, *rest = parts
    if top != "broker" or not rest or not (ROOT / top / rest[0]).is_dir():
        return top
    return f"{top}/{rest[0]}"


def _in_order(folder: Path) -> tuple[int, str]:
    return PACKAGES.index(folder.parts[0]), str(folder)


def _name_order(name: str) -> tuple[int, str]:
    return _in_order(Path(name))
