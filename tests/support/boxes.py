"""What the harnesses of own machines share."""

import subprocess

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.testing.clouds import RealTime


class BoxHarness(RealTime):
    name: str
    region = ON_PREM
    cloud: Cloud
    spared: dict[str, str]
    _strangers: list["subprocess.Popen[bytes]"]

    def type_name(self) -> str:
        return "local"

    def stranger(self) -> str:
        """A process of somebody else's, with a token of theirs."""
        process = subprocess.Popen(
            ["sleep", "300"], env={"MLBROKER_TOKEN": "mlb-somebody-else-1", "PATH": "/usr/bin:/bin"}
        )
        self._strangers = [*getattr(self, "_strangers", []), process]
        return str(process.pid)

    def stranger_lives(self, machine_id: str) -> bool:
        process = next(p for p in self._strangers if str(p.pid) == machine_id)
        return process.poll() is None

    def lose_answers(self, call: str, times: int) -> None:
        raise NotImplementedError

    def lose_requests(self, call: str, times: int) -> None:
        raise NotImplementedError

    def hide_new_machines(self, seconds: float) -> None:
        raise NotImplementedError

    def fail_deletes(self, times: int) -> None:
        raise NotImplementedError

    def run_out_of(self, what: str) -> None:
        raise NotImplementedError

    def clean_up(self) -> None:
        for process in getattr(self, "_strangers", []):
            process.kill()
            process.wait()
        for machine in self.cloud.find({}):
            self.cloud.terminate(machine.id)
