"""What `yaml_strict` read, as text again: each scalar says what it said."""

from typing import Any

from mlbroker.broker.files.yaml_strict import Node

_TEXT = "tag:yaml.org,2002:str"


def yaml_of(node: Node) -> str:
    """The document; comments are gone, and what was quoted may be quoted in another way."""
    import yaml

    text: str = yaml.serialize(
        _yaml_node(node), Dumper=yaml.SafeDumper, allow_unicode=True, width=10_000
    )
    return text


def _yaml_node(node: Node) -> Any:
    import yaml

    if node.fields is not None:
        pairs = []
        for name, (line, value) in node.fields.items():
            key = Node(line)
            key.text = name
            pairs.append((_yaml_node(key), _yaml_node(value)))
        return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=False)
    if node.items is not None:
        items = [_yaml_node(item) for item in node.items]
        return yaml.SequenceNode("tag:yaml.org,2002:seq", items, flow_style=False)
    text = node.text or ""
    # A plain scalar stays one, whatever YAML takes it for: null is told from 'null' by that.
    tag = _resolved(text) if node.plain else _TEXT
    return yaml.ScalarNode(tag, text, style="|" if "\n" in text else None)


def _resolved(text: str) -> str:
    """What YAML takes plain text for."""
    import io

    import yaml

    dumper: Any = yaml.SafeDumper(io.StringIO())
    tag: str = dumper.resolve(yaml.ScalarNode, text, (True, False))
    return tag
