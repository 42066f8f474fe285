"""The consoles of an attempt's machines as one text."""

from collections.abc import Mapping


def joined(texts: Mapping[str, str]) -> str:
    """One machine's as it is; those of several each under its name."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}:\n{text}" for name, text in texts.items() if text)
