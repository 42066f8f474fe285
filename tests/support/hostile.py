"""Job files that attack the reader: each must be refused at once, cheaply and with its place."""

import os
from itertools import pairwise
from pathlib import Path

MINIMAL = "run: python train.py\n"


def _alias_bomb() -> str:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]
    return "\n".join(levels)


def _merge_bomb() -> str:
    levels = ["a: &a {k: v}"]
    levels += [f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in pairwise("abcdefghi")]
    return "\n".join(levels)


# name -> (text, what the message must say)
TEXTS: dict[str, tuple[str, str]] = {
    "alias bomb": (_alias_bomb(), "anchors"),
    "merge bomb": (_merge_bomb(), "anchors"),
    "alias": (MINIMAL + "a: *x\n", "aliases"),
    "merge key": (MINIMAL + "envs: {<<: {A: b}}\n", "merge keys"),
    "tag": (MINIMAL + "setup: !!python/object/apply:os.system [id]\n", "tags"),
    "short tag": (MINIMAL + "setup: !x y\n", "tags"),
    "deep flow nesting": ("[" * 900_000, "nested more than"),
    "deep block nesting": ("- " * 400_000, "nested more than"),
    "deep mappings": ("{a: " * 200_000, "nested more than"),
    "unclosed": (MINIMAL + "broker: {budget: 5", "not valid YAML"),
    "tab": ("broker:\n\tbudget: 5\n", "tabs"),
    "unknown escape": (MINIMAL + 'setup: "\\q"\n', "not valid YAML"),
    "two of a key": (MINIMAL + "broker:\n  budget: 5\n  budget: 500\n", "given twice"),
    "two of a top key": (MINIMAL + MINIMAL, "given twice"),
    "list as a key": ("? [a, b]\n: c\n", "cannot be a key"),
    "too many values": ("a: [" + "x," * 300_000 + "]", "more than 20000 values"),
    "too many keys": ("".join(f"k{i}: v\n" for i in range(60_000)), "more than 20000 values"),
    "over 1 MB": ("#" * 1_000_001, "larger than 1 MB"),
    "NUL": ("run: a\0b\n", "U+0000"),
    "escape sequence": ("run: \x1b[2Jhello\n", "U+001B"),
    "C1 control": ("run: a\x9bb\n", "not valid YAML"),
    "empty": ("", "holds no job"),
    "comments only": ("# nothing\n", "holds no job"),
    "a list": ("- run\n", "must be a mapping"),
    "a scalar": ("run\n", "must be a mapping"),
    "null documents": ("---\n---\n", "holds no job"),
    "unended directive": ("%YAML 9.9\n", "not valid YAML"),
}

# name -> (content, what the message must say)
CONTENTS: dict[str, tuple[bytes, str]] = {
    "latin-1": ("run: echo café\n".encode("latin-1"), "not UTF-8"),
    "UTF-16": ("run: x\n".encode("utf-16"), "byte order mark"),
    "UTF-8 with mark": (b"\xef\xbb\xbfrun: x\n", "byte order mark"),
    "surrogates": (b"run: \xed\xa0\x80\n", "not UTF-8"),
    "binary": (bytes(range(256)) * 100, "not UTF-8"),
}


def make_paths(folder: Path) -> dict[str, tuple[Path, str]]:
    """Paths that are no job files: name -> (path, what the message must say)."""
    fifo, loop, locked = folder / "fifo", folder / "loop", folder / "socket"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    locked.symlink_to("/dev/zero")
    return {
        "FIFO": (fifo, "not a regular file"),
        "folder": (folder, "is a folder"),
        "link loop": (loop, "symbolic links"),
        "device": (locked, "not a regular file"),
        "missing": (folder / "nothing.yaml", "no such file"),
        "NUL in the name": (folder / "a\0b", "no such file"),
        "long name": (folder / ("x" * 5000), "no such file"),
        "file as folder": (Path(__file__) / "job.yaml", "no such file"),
    }
