"""The text of a job file from what another tool's file said."""

from typing import Any

import yaml

from mlbroker.broker.files.other_tools.carrying import Carrying
from mlbroker.broker.output import in_a_line

# Fields whose own mappings stay on a line.
_ON_A_LINE = ("resources", "broker")


def job_text(carrying: Carrying, workdir: str | None, from_name: str) -> str:
    """The job file; what is not in it stands above, line by line."""
    resources, broker = carrying.resources or {"cpus": "1+"}, carrying.broker
    fields: dict[str, Any] = {
        "name": carrying.name,
        "workdir": workdir,
        "num_nodes": carrying.nodes if carrying.nodes > 1 else None,
        "resources": resources,
        "envs": carrying.envs or None,
        "secrets": dict.fromkeys(carrying.secrets) or None,
        "run": carrying.command,
        "broker": broker,
    }
    notes = "".join(f"#   line {note.line}: {in_a_line(note.text)}\n" for note in carrying.notes)
    written = "".join(text_of(key, value) for key, value in fields.items() if value is not None)
    return (
        f"# From {in_a_line(from_name)}, by mlbroker init --from. Look it over.\n{notes}{written}"
    )


def text_of(key: str, value: Any) -> str:
    """One field as YAML: texts of several lines as they are, everything else on few lines."""
    if isinstance(value, str) and "\n" in value.strip("\n") and _as_it_is(value):
        ending = "" if value.endswith("\n") and not value.endswith("\n\n") else "-"
        lines = (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
        return f"{key}: |2{ending}\n" + "\n".join(lines) + "\n"
    return yaml.dump(
        {key: value},
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
        default_flow_style=None if key in _ON_A_LINE else False,
    )


def _as_it_is(text: str) -> bool:
    """Whether a block of YAML holds it unchanged."""
    return not text.endswith("\n\n") and all(c in "\n\t" or c.isprintable() for c in text)


class _Plain(yaml.SafeDumper):
    """Without anchors: job files have none."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True
