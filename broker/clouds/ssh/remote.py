"""One node's commands through OpenSSH's client: its options, its answers, and how it says no."""

import hashlib
import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from mlbroker.broker.clouds.arriving import Arriving
from mlbroker.broker.clouds.guest_report import ANSWER_BYTES
from mlbroker.broker.clouds.interface import Denied, Unclear
from mlbroker.broker.clouds.ssh.reach import Reach
from mlbroker.broker.errors import CloudError
from mlbroker.broker.guest import box as files

CONNECT_S = 10
CALL_S = 120
TRANSFER_S = 3600
# One connection serves all calls and lingers so long after the last.
LINGER_S = 15
_UNREACHABLE = 255
# Said before each answer: start-up files of a node's shell may print whatever they like.
_ANSWER = b"mlbroker-answer:\n"
_GREETING_BYTES = 1 << 16
_ERROR_BYTES = 1 << 13
_CHUNK = 1 << 16
# Behind the sockets' folder comes a hash of 40 letters and what ssh adds while it binds.
_LONGEST_FOLDER = 30


def call(
    node: Reach,
    kept: Path,
    words: Sequence[str],
    *,
    stdin: bytes | None = None,
    source: IO[bytes] | None = None,
    sink: Arriving | None = None,
    at_most: int = ANSWER_BYTES,
) -> bytes:
    """Run one command on the node; its answer, or nothing where that goes into a `sink`.

    sshd hands the command to a shell, so every word is quoted. `kept` is a folder for the pinned
    key. Raises Unclear where nothing is answered, or more than `at_most` bytes; a `sink` has a
    limit of its own.
    """
    where = f"node {node.name}"
    command = f"echo {_ANSWER.decode().strip()}; {shlex.join(words)}"
    try:
        process = subprocess.Popen(
            [*command_line(node, kept), command],
            stdin=source or (subprocess.PIPE if stdin else subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Denied("there is no ssh on this machine", hint="Install OpenSSH.") from None
    limit_s = TRANSFER_S if source or sink else CALL_S
    with process, _Aside(process, stdin, limit_s) as aside:
        assert process.stdout is not None
        answer, greeting = bytearray(), bytearray()
        for chunk in _after_greeting(process.stdout, greeting):
            if sink is not None:
                sink.write(chunk)
                continue
            answer += chunk
            if len(answer) > at_most:
                raise Unclear(f"it answers with more than {at_most} bytes", where=where)
        if _ANSWER not in greeting and len(greeting) > _GREETING_BYTES:
            raise Denied(f"its shell says more than {_GREETING_BYTES} bytes first", where=where)
        process.wait()
    if aside.late:
        raise Unclear(f"{node.name} did not answer in {limit_s} s")
    said = aside.said.decode("utf-8", "replace")
    if process.returncode == _UNREACHABLE:
        raise _no_connection(node, said + _on_the_way(node, kept, said))
    if _ANSWER not in greeting:
        shown = _last_words(greeting.decode("utf-8", "replace") + said) or "it says nothing"
        raise Unclear(f"its shell does not run what it is asked to: {shown}", where=where)
    if process.returncode == 127:
        raise Denied("there is no python3 on the node", where=where, hint="3.8 or later.")
    if process.returncode != 0:
        last = _last_words(said, 1) or f"exit {process.returncode}"
        raise Denied(f"the guest program failed: {last}", where=where)
    return bytes(answer)


class _Aside:
    """What goes on beside the reading of an answer: input is fed, complaints kept, time kept."""

    def __init__(self, process: "subprocess.Popen[bytes]", stdin: bytes | None, limit_s: float):
        self._process = process
        self._stdin = stdin
        self._timer = threading.Timer(limit_s, self._too_late)
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        if stdin:
            self._threads.append(threading.Thread(target=self._feed, daemon=True))
        self.said = b""
        self.late = False

    def __enter__(self) -> "_Aside":
        for thread in (self._timer, *self._threads):
            thread.daemon = True
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        for thread in self._threads:
            thread.join()
        self._timer.cancel()

    def _too_late(self) -> None:
        self.late = True
        self._process.kill()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(self._stdin or b"")
            self._process.stdin.close()
        except BrokenPipeError:
            # It ended without having read all: its exit code says why.
            return

    def _listen(self) -> None:
        assert self._process.stderr is not None
        descriptor = self._process.stderr.fileno()
        while chunk := os.read(descriptor, _CHUNK):
            self.said = (self.said + chunk)[-_ERROR_BYTES:]


def _after_greeting(stream: IO[bytes], greeting: bytearray) -> Iterator[bytes]:
    """What comes behind the word that begins an answer; what comes before, with it, is kept."""
    while _ANSWER not in greeting:
        chunk = os.read(stream.fileno(), _CHUNK)
        if not chunk or len(greeting) > _GREETING_BYTES:
            return
        greeting += chunk
    yield bytes(greeting.partition(_ANSWER)[2])
    while chunk := os.read(stream.fileno(), _CHUNK):
        yield chunk


def _on_the_way(node: Reach, kept: Path, said: str) -> str:
    """What a machine on the way there says, which ssh drops where a connection is shared."""
    if "Connection closed by" not in said:
        return ""
    command = [*command_line(node, kept, shared=False), "true"]
    try:
        again = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * CONNECT_S
        )
    except subprocess.TimeoutExpired:
        return ""
    return again.stderr.decode("utf-8", "replace")


def _no_connection(node: Reach, said: str) -> CloudError:
    """What ssh said, as one of ours. A cause may stand lines above its last word."""
    where, words = f"node {node.name}", _last_words(said) or "ssh says nothing"
    if "host key verification failed" in said.lower():
        # A machine on the way there may be meant, whose key is none of the nodes file's.
        pinned = node.host_key is not None and words.lower().endswith("verification failed.")
        return Denied(
            f"its host key is not {'the one that is pinned' if pinned else 'known'}: {words}",
            where=where,
            hint="Compare with the node's own /etc/ssh/ssh_host_*_key.pub, then set host_key "
            "in the nodes file. Keys are never accepted on first sight.",
        )
    if "permission denied" in said.lower():
        key = node.identity_file
        missing = key is not None and not Path(key).exists()
        hint = f"Check user and key{f': there is no {key}' if missing else ''}."
        return Denied(f"it does not let you in: {words}", where=where, hint=hint)
    return Unclear(f"not reachable: {words}", where=where)


def _last_words(said: str, lines: int = 3) -> str:
    """The last lines of what was said, as one, without ssh's frames."""
    told = [line.strip() for line in said.splitlines() if line.strip("@ \t\r")]
    return "; ".join(dict.fromkeys(told[-lines:]))


def command_line(node: Reach, kept: Path, *, shared: bool = True) -> list[str]:
    """What reaches a node, up to the command to be run there.

    `shared`: by the connection that calls share.
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        # What people set for a shell of theirs on the node: commands, tunnels.
        "RemoteCommand": "none",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(CONNECT_S),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    pinned = "" if node.host_key is None else hashlib.sha256(node.host_key.encode()).hexdigest()
    sockets = _sockets(kept) if shared else None
    # A connection that was opened under another key, or by the user, is none of ours.
    options |= {"ControlPath": "none"}
    if sockets is not None:
        options |= {"ControlMaster": "auto", "ControlPersist": str(LINGER_S)}
        options |= {"ControlPath": _path(sockets / f"{pinned[:4]}%C", but="%C")}
    if node.host_key is not None:
        # Under a name of our own: whatever address and port ssh's configuration makes of the host.
        alias = f"mlbroker-{pinned[:16]}"
        known = kept / f"{alias}.known_hosts"
        line = f"{alias} {node.host_key}\n"
        if not known.exists() or known.read_text(encoding="utf-8") != line:
            files.write(str(kept), known.name, line)
        options |= {"HostKeyAlias": alias, "CheckHostIP": "no", "UserKnownHostsFile": _path(known)}
    elif node.known_hosts is not None:
        options |= {"UserKnownHostsFile": _path(Path(node.known_hosts))}
    if "UserKnownHostsFile" in options:
        options |= {"GlobalKnownHostsFile": "/dev/null"}
    if node.identity_file is not None:
        options |= {"IdentityFile": _path(Path(node.identity_file)), "IdentitiesOnly": "yes"}
    command = ["ssh", "-T"]
    if node.port is not None:
        command += ["-p", str(node.port)]
    if node.user is not None:
        command += ["-l", node.user]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return [*command, "--", node.host]


def _path(path: Path, but: str = "") -> str:
    """A path as a word of ssh's configuration, of which nothing is taken for a sign of ssh's own.

    `but` is one that is meant as such, at the path's end.
    """
    text = str(path)
    if "${" in text or "\n" in text:
        raise Denied("ssh cannot be given a path with '${' or a line break", where=text)
    head = text.removesuffix(but)
    escaped = head.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}{but if but and text.endswith(but) else ""}"'


@cache
def _sockets(kept: Path) -> Path | None:
    """A short folder of our own: a socket's path may have some hundred bytes only.

    None where there is no short one: each call then makes a connection of its own.
    """
    digest = hashlib.sha256(str(kept).encode()).hexdigest()[:8]
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # its owner and mode are checked
        folder = Path(parent) / f"mlb-{os.getuid()}-{digest}"
        if len(os.fsencode(folder)) > _LONGEST_FOLDER:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        found = folder.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise Denied(f"{folder} belongs to somebody else", hint="Remove it.")
        return folder
    return None
