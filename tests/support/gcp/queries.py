"""Lists and lookups as Compute Engine answers them: scopes, filters, and what is not there."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.support.gcp import catalog
from tests.support.gcp.discovery import found, refuse
from tests.support.loopback_http import Answer, TokenRequest


def missing(what: str, project: str = catalog.PROJECT) -> Answer:
    return refuse(404, "notFound", f"The resource 'projects/{project}/{what}' was not found")


_TERM = re.compile(r'\(?\s*([\w.\-"]+)\s*(=|eq|:)\s*("[^"]*"|[^\s()]+)\s*\)?')


def terms_of(text: str) -> Iterable[tuple[str, str, str]]:
    for term in re.split(r"\s+AND\s+|(?<=\))\s*(?=\()", text):
        matched = _TERM.fullmatch(term.strip())
        if matched is None:
            raise ValueError(f"Invalid value for field 'filter': '{text}'.")
        name, how, value = matched.groups()
        yield name, how, value.strip('"')


def wanted_by(request: TokenRequest) -> Callable[[Any], bool]:
    """Compute Engine's own filter expressions, as far as they are used."""
    terms = list(terms_of(request.query["filter"])) if request.query.get("filter") else []

    def wanted(item: dict[str, Any]) -> bool:
        return all(_holds(item, *term) for term in terms)

    return wanted


def _holds(item: dict[str, Any], name: str, how: str, value: str) -> bool:
    actual: Any = item
    for part in name.replace('"', "").split(".", 1) if name.startswith("labels.") else [name]:
        actual = actual.get(part) if isinstance(actual, dict) else None
    if actual is None:
        return False
    if how == ":" and value == "*":
        return True
    return bool(re.fullmatch(value, str(actual))) if how == "eq" else str(actual) == value


def name_in_filter(request: TokenRequest) -> str:
    text = request.query.get("filter")
    terms = {name: value for name, _, value in terms_of(text)} if text else {}
    return terms.get("name", "")


def scopes(
    what: str,
    by_zone: dict[str, list[Any]],
    wanted: Callable[[Any], bool],
    unreachable: set[str],
) -> Answer:
    """An aggregated list: every zone has its say, be it that it has nothing or does not answer."""
    items: dict[str, Any] = {}
    for zone, listed in by_zone.items():
        kept = list(filter(wanted, listed))
        if zone in unreachable:
            scope: dict[str, Any] = {"warning": {"code": "UNREACHABLE", "message": "zone"}}
        elif kept:
            scope = {what: kept}
        else:
            scope = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "empty"}}
        items[f"zones/{zone}"] = scope
    return found({"kind": f"compute#{what}AggregatedList", "items": items})


def paged(request: TokenRequest, answer: Answer, largest: int) -> Answer:
    """One page of a list, and where the next one begins; an entry is a thing, or a silent scope."""
    if not answer.ok:
        return answer
    document = json.loads(answer.body)
    items = document.get("items", [])
    entries = list(items) if isinstance(items, list) else list(_entries(items))
    start = int(request.query.get("pageToken", "0"))
    end = start + min(largest, int(request.query.get("maxResults", "500")))
    page = entries[start:end]
    document["items"] = page if isinstance(items, list) else _regrouped(page)
    if end < len(entries):
        document["nextPageToken"] = str(end)
    return found(document)


def _entries(items: dict[str, dict[str, Any]]) -> Iterable[tuple[str, str, Any]]:
    for scope, part in items.items():
        for what, said in part.items():
            for one in said if isinstance(said, list) else [said]:
                yield scope, what, one


def _regrouped(entries: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for scope, what, one in entries:
        if what == "warning":
            items.setdefault(scope, {})[what] = one
        else:
            items.setdefault(scope, {}).setdefault(what, []).append(one)
    return items
