"""YAML as people write it; and the text of a job file from what another tool's file said."""

from collections.abc import Mapping
from typing import Any

import yaml

from mlbroker.broker.files.other_tools.carrying import Carrying
from mlbroker.broker.output import in_a_line


def job_text(carrying: Carrying, workdir: str | None, from_name: str) -> str:
    """The job file; what is not in it as it was stands above, line by line."""
    fields: dict[str, Any] = {
        "name": carrying.name,
        "workdir": workdir,
        "num_nodes": carrying.nodes if carrying.nodes > 1 else None,
        "resources": carrying.resources,
        "envs": carrying.envs or None,
        "secrets": dict.fromkeys(carrying.secrets) or None,
        "run": carrying.command,
        "broker": carrying.broker,
    }
    notes = "".join(f"#   line {note.line}: {in_a_line(note.text)}\n" for note in carrying.notes)
    title = f"# From {in_a_line(from_name)}, by mlbroker init --from. Look it over.\n"
    return title + notes + yaml_text(fields)


def yaml_text(fields: Mapping[str, Any]) -> str:
    """The fields that have a value, in their order; texts of several lines as they are."""
    given = {key: value for key, value in fields.items() if value is not None}
    return yaml.dump(given, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)


class _Plain(yaml.SafeDumper):
    """Without anchors: job files have none."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Plain.add_representer(str, _text)
