"""Holds requests to Google's own discovery documents, and refuses them in Google's own words."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.loopback_http import Answer

JSON = [("Content-Type", "application/json; charset=UTF-8")]
_KINDS = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}
_WHOLE = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Method:
    """One method of an API: its id, the values of its path, and what it takes."""

    id: str
    path: dict[str, str]
    spec: dict[str, Any]


class Api:
    """One API by its discovery document, as google-api-python-client ships it."""

    def __init__(self, name: str) -> None:
        import googleapiclient

        folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
        self._document = json.loads((folder / f"{name}.json").read_text())
        self._common = set(self._document["parameters"])
        self._routes: list[tuple[str, re.Pattern[str], dict[str, Any]]] = []
        self._collect(self._document)
        # The longest path first: `…/operations/x/wait` is not an operation called `x/wait`.
        self._routes.sort(key=lambda route: -len(route[2].get("flatPath", route[2]["path"])))

    def find(self, verb: str, path: str) -> Method | None:
        """The method that this request calls."""
        for method, pattern, spec in self._routes:
            if method == verb and (found := pattern.fullmatch(path)):
                return Method(spec["id"], found.groupdict(), spec)
        return None

    def refused(self, method: Method, query: dict[str, str], body: bytes) -> Answer | None:
        """Why the request is not one of this API's, or None when it is."""
        wrong = self._wrong_query(method, query)
        if wrong is None and "request" in method.spec:
            wrong = self._wrong_body(method, body)
        elif wrong is None and body:
            wrong = "Request body is not allowed for this method."
        return refuse(400, "invalid", wrong) if wrong else None

    def _wrong_query(self, method: Method, query: dict[str, str]) -> str | None:
        known = method.spec.get("parameters", {})
        for name, value in query.items():
            if name in self._common:
                continue
            if name not in known or known[name]["location"] != "query":
                return (
                    f'Invalid JSON payload received. Unknown name "{name}": '
                    "Cannot bind query parameter."
                )
            spec = known[name]
            if "enum" in spec and value not in spec["enum"]:
                return f"Invalid value for query parameter '{name}': '{value}'."
            if spec["type"] == "boolean" and value not in ("true", "false"):
                return f"Invalid value for query parameter '{name}': '{value}'."
            if spec["type"] == "integer" and not _WHOLE.fullmatch(value):
                return f"Invalid value for query parameter '{name}': '{value}'."
        for name, spec in known.items():
            given = query if spec["location"] == "query" else method.path
            if spec.get("required") and name not in given and spec["location"] == "query":
                return f"Required parameter is missing: '{name}'"
            pattern = spec.get("pattern")
            if pattern and name in given and not re.fullmatch(pattern, given[name]):
                return (
                    f"Invalid value for field '{name}': '{given[name]}'. "
                    f"Must be a match of regex '{pattern}'"
                )
        return None

    def _wrong_body(self, method: Method, body: bytes) -> str | None:
        try:
            value = json.loads(body or b"null")
        except ValueError:
            return "Parse Error"
        if not isinstance(value, dict):
            return "Required field 'resource' not specified"
        schema = method.spec["request"]["$ref"]
        wrong = self._wrong(value, {"$ref": schema}, "resource")
        if wrong:
            return wrong
        for name, spec in self._document["schemas"][schema]["properties"].items():
            required = spec.get("annotations", {}).get("required", [])
            if method.id in required and name not in value:
                return f"Required field 'resource.{name}' not specified"
        return None

    def _wrong(self, value: Any, spec: dict[str, Any], at: str) -> str | None:
        if "$ref" in spec:
            spec = self._document["schemas"][spec["$ref"]]
        kind = spec.get("type", "any")
        if kind == "any":
            return None
        if kind == "string" and spec.get("format") in ("int64", "uint64"):
            if isinstance(value, bool) or not _WHOLE.fullmatch(str(value)):
                return f"Invalid value for field '{at}': '{value}'. Must be a whole number."
            return None
        right = isinstance(value, _KINDS[kind])
        if not right or (isinstance(value, bool) and kind != "boolean"):
            return f"Invalid value at '{at}' (TYPE_{kind.upper()}), {json.dumps(value)}"
        if "enum" in spec and value not in spec["enum"]:
            return f"Invalid value for field '{at}': '{value}'. Acceptable values: {spec['enum']}"
        if kind == "array":
            return self._first(
                (item, spec["items"], f"{at}[{index}]") for index, item in enumerate(value)
            )
        if kind == "object":
            return self._wrong_members(value, spec, at)
        return None

    def _wrong_members(self, value: dict[str, Any], spec: dict[str, Any], at: str) -> str | None:
        known, others = spec.get("properties", {}), spec.get("additionalProperties")
        for name in value:
            if name not in known and others is None:
                return (
                    f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': "
                    "Cannot find field."
                )
        return self._first(
            (item, known.get(name, others), f"{at}.{name}") for name, item in value.items()
        )

    def _first(self, members: Any) -> str | None:
        found = (self._wrong(value, spec, at) for value, spec, at in members)
        return next((wrong for wrong in found if wrong), None)

    def _collect(self, resource: dict[str, Any]) -> None:
        for spec in resource.get("methods", {}).values():
            path = "/" + self._document["servicePath"] + spec.get("flatPath", spec["path"])
            pattern = re.escape(path)
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)
            self._routes.append((spec["httpMethod"], re.compile(pattern), spec))
        for child in resource.get("resources", {}).values():
            self._collect(child)


@cache
def api(name: str) -> Api:
    """Read once: the document of Compute Engine has 4 MB."""
    return Api(name)


def refuse(code: int, reason: str, message: str) -> Answer:
    """An error as Google's JSON APIs shape it."""
    detail = {"message": message, "domain": "global", "reason": reason}
    document = {"error": {"code": code, "message": message, "errors": [detail]}}
    return Answer(f"{code} {reason}", JSON, json.dumps(document).encode())


def found(document: dict[str, Any]) -> Answer:
    """What was asked for."""
    return Answer("200 OK", JSON, json.dumps(document).encode())
