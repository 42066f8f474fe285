"""Names, values and paths that try to become commands, against a canary file."""

import gzip
import json
import os
import random
import shlex
from pathlib import Path

import pytest
from tests.support.campaign import figures, size
from tests.support.mlbroker import Cli
from tests.support.sshd import SSHD, make_sshd

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.clouds.on_prem import checked
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.guest.unpacking import unpack
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.broker.runs.launch import current_project

WRAPPERS = (
    "{c}", "; {c}", "| {c}", "&& {c}", "$({c})", "`{c}`", "'; {c}; '", '"; {c}; "', "\n{c}\n",
    "a\r\n{c}", "${{IFS}}{c}", "$(\n{c}\n)", "<({c})", "x' $({c}) 'y", "\\'; {c}", "&{c}&", "!{c}",
    "-o ProxyCommand={c}", "--rsh={c}", "%({c})s", "{{{{ {c} }}}}", "\x1b]0;{c}\x07", "\u202e{c}",
    "../../../{c}", "~/{c}", "*{c}?", "[{c}]", "#{c}", "é{c}✓", "'{c}", '"{c}', "$'{c}'",
)  # fmt: skip


def hostile(canary: Path, count: int) -> list[str]:
    """Distinct texts, each of which would make the canary if it were ever a command."""
    chance = random.Random(7)
    commands = [f"touch {canary}", f"sh -c 'touch {canary}'", f"cp /dev/null {canary}"]
    texts = []
    for number in range(count):
        text = WRAPPERS[number % len(WRAPPERS)].format(c=commands[number % len(commands)])
        if chance.random() < 0.5:
            text = chance.choice(WRAPPERS).replace("{c}", text).replace("{{", "{")
        texts.append(f"{number}{text}")
    return texts


def test_nothing_hostile_becomes_a_command(tmp_path: Path) -> None:
    count = size(320, 5000)
    canary = tmp_path / "canary"
    texts = hostile(canary, count)
    cli = Cli(tmp_path)
    with figures("hostile") as kept:
        _as_envs(cli, texts)
        _as_names_and_tags(tmp_path, texts)
        _as_files_of_a_bundle(tmp_path, texts)
        if os.path.exists(SSHD):
            _as_words_over_ssh(tmp_path, texts)
        kept |= {"texts": count, "ways in": 4, "canaries": int(canary.exists())}
    assert not canary.exists()


def _as_envs(cli: Cli, texts: list[str]) -> None:
    """A job's environment arrives letter by letter."""
    per_run = 400
    for start in range(0, len(texts), per_run):
        batch = {
            f"V{n}": "".join(c for c in text if c.isprintable() or c == "\n")
            for n, text in enumerate(texts[start : start + per_run])
        }
        out = cli.folder / "seen.json"
        script = f"import json, os; json.dump(dict(os.environ), open({str(out)!r}, 'w'))"
        job = cli.job(f"python3 -c {shlex.quote(script)}", envs=batch)
        answer = cli.run_local(job, "--project", batch["V0"])
        assert answer.returncode == 0, answer.stderr
        seen = json.loads(out.read_text())
        assert {name: seen[name] for name in batch} == batch


def _as_names_and_tags(folder: Path, texts: list[str]) -> None:
    """What becomes a tag, a token or a folder is let through only in plain letters."""
    path = folder / "named.yaml"
    for text in texts:
        path.write_text(json.dumps({"name": text, "run": "true"}))
        with pytest.raises(InputError):
            load_job(path)
        with pytest.raises(Denied):
            checked(text)
        project = current_project(path, text)
        assert project is not None
        assert all(c.isascii() and (c.isalnum() or c in "._@+-") for c in project)


def _as_files_of_a_bundle(folder: Path, texts: list[str]) -> None:
    """File names come out of a bundle as they went in."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    target.mkdir()
    names = set()
    for text in texts:
        name = text.replace("/", "_")[:200]
        (source / name).write_text(text)
        names.add(name)
    bundle = pack_workdir(source, folder / "bundle.tar.gz", {})
    assert bundle.files == len(names)
    with gzip.open(bundle.path) as stream:
        assert unpack(stream, str(target), links=True).files == len(names)
    assert {p.name for p in target.iterdir()} == names


def _as_words_over_ssh(folder: Path, texts: list[str]) -> None:
    """sshd hands a command line to a shell: every word has to arrive as that word."""
    from mlbroker.broker.clouds.ssh.cloud import SshCloud

    home = folder / "ssh-home"
    home.mkdir()
    server = make_sshd(folder / "sshd")
    (home / "nodes.yaml").write_text(server.nodes_yaml())
    try:
        host = SshCloud(home).host("box")
        echo = "import json, sys; print(json.dumps(sys.argv[1:]))"
        for start in range(0, len(texts), 100):
            words = texts[start : start + 100]
            told = host._remote(["python3", "-c", echo, *words])  # type: ignore[attr-defined]
            assert json.loads(told) == words
    finally:
        server.stop()
