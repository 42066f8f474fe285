"""A node over a real sshd on loopback under the conformance suite."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.boxes import BoxHarness
from tests.support.sshd import SSHD, Sshd, make_sshd

from mlbroker.broker.clouds.interface import Cloud, Intent, Payload
from mlbroker.broker.clouds.ssh.cloud import SshCloud
from mlbroker.testing.clouds import make_intent


class SshHarness(BoxHarness):
    name = "ssh"

    def __init__(self, folder: Path, server: Sshd) -> None:
        self._home = folder / "home"
        self._home.mkdir()
        self._server = server
        (self._home / "nodes.yaml").write_text(server.nodes_yaml())
        self.cloud: Cloud = SshCloud(self._home)
        self.spared = {
            "hidden": "what exists on the node is seen at once",
            "late deletes": "a kill on the node is no request",
            "quota": "one's own machine has none",
        }
        # The launcher knows only nodes that something was launched on.
        self.cloud.arm_kill(self._any_intent())

    def _any_intent(self) -> Intent:
        return make_intent(self, 9)

    def reopened(self) -> Cloud:
        return SshCloud(self._home)

    def type_name(self) -> str:
        return "box"

    def payload(self, seconds: float, code: int = 0) -> Payload:
        return Payload({"command": f"sleep {seconds}; exit {code}"})

    def run_out_of(self, what: str) -> None:
        """The one place of the node is taken by another run."""
        other = make_intent(self, 8, lifetime_s=600)
        self.cloud.create(other, self.payload(600))

    def lose_answers(self, call: str, times: int) -> None:
        """The connection breaks after the node did what it was asked."""
        self._break_next(call, times, after=True)

    def lose_requests(self, call: str, times: int) -> None:
        self._break_next(call, times, after=False)

    def _break_next(self, call: str, times: int, after: bool) -> None:
        action = {"create": "start", "terminate": "end", "status": "show"}[call]
        state = self._server.folder / "breaks"
        state.write_text(str(times))
        landing = self._server.folder / "landing.sh"
        node = self._server.node_home
        run = 'sh -c "$SSH_ORIGINAL_COMMAND"'
        landing.write_text(
            f"#!/bin/sh\ncd {node}\nexport HOME={node}\n"
            f'left=$(cat {state})\ncase "$SSH_ORIGINAL_COMMAND" in *" {action} "*)\n'
            f"if [ $left -gt 0 ]; then echo $((left - 1)) > {state}\n"
            f"{run + ' >/dev/null' if after else ':'}\nexit 255\nfi;; esac\nexec {run}\n"
        )


@contextmanager
def open_harness(folder: Path) -> Iterator[SshHarness]:
    if not os.path.exists(SSHD) or shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH: apt-get install openssh-server openssh-client")
    server = make_sshd(folder / "sshd")
    harness = SshHarness(folder, server)
    try:
        yield harness
    finally:
        harness.clean_up()
        server.stop()
