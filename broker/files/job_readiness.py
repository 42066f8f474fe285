"""SkyServe's `readiness_probe:`: how a replica is asked whether it is ready."""

import json
import re
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import matching, parse_number, parse_positive
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import Node
from mlbroker.broker.files.yaml_writer import yaml_of
from mlbroker.profiles.service import Readiness

url_path = matching(r"/[!-~]{0,999}", "a path", "start it with a slash: /health")
# RFC 9110, 5.6.2: a token.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
# Whoever asks counts these from the body.
_COUNTED = {"content-length", "transfer-encoding", "connection"}


def read_readiness(section: Fields) -> Readiness | None:
    """The probe of a `service:` block; None where it has none."""
    probe = section.node("readiness_probe")
    if probe is None:
        return None
    if probe.fields is None:
        return Readiness(section.required("readiness_probe", url_path, "/health"))
    inner = section.section("readiness_probe")
    assert inner is not None
    asked = Readiness(
        inner.required("path", url_path, "{path: /health}"),
        body=_post_data(inner),
        headers=_headers(inner),
    )
    if (within_s := inner.value("initial_delay_seconds", parse_number)) is not None:
        asked = asked._replace(within_s=float(within_s))
    if (timeout_s := inner.value("timeout_seconds", parse_positive)) is not None:
        asked = asked._replace(timeout_s=float(timeout_s))
    return asked


def _post_data(probe: Fields) -> str | None:
    """As JSON: SkyServe sends a mapping as it is, and reads a text as JSON first."""
    node = probe.node("post_data")
    if node is None:
        return None
    value = _value(node)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            hint = """{model: my-model}, or '{"model": "my-model"}'"""
            probe.fail("post_data", "is not JSON", hint)
    elif not isinstance(value, dict):
        probe.fail("post_data", "must be a mapping, or JSON as a text", "{model: my-model}")
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        probe.fail("post_data", "holds what JSON cannot say, such as a date", "put it into quotes")


def _value(node: Node) -> Any:
    import yaml

    return yaml.safe_load(yaml_of(node))


def _headers(probe: Fields) -> tuple[tuple[str, str], ...]:
    inner = probe.section("headers")
    if inner is None:
        return ()
    for name in inner:
        if not _TOKEN.fullmatch(name) or name.lower() in _COUNTED:
            inner.fail(name, "is no header to set", "{Authorization: Bearer abc}")
    return tuple((name, inner.required(name, _line)) for name in inner)


def _line(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise InputError("is no value of a header: it is one line of printable ASCII")
    return text
