"""A real Slurm on loopback: munged, one controller and two nodes of four CPUs and two GPUs each."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from pwd import getpwuid

import pytest
from tests.support.mlbroker import PATIENCE_S, wait_for

_SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_DAEMONS = {name: shutil.which(name, path=_SBIN) for name in ("munged", "slurmctld", "slurmd")}
FOUND = all(_DAEMONS.values()) and shutil.which("sbatch") is not None
needs_slurm = pytest.mark.skipif(not FOUND, reason="needs Slurm: apt-get install slurm-wlm munge")
NODES, CPUS, GPUS, KILL_WAIT_S = 2, 4, 2, 2
_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/socket/munge
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=50000,sched_interval=1,bf_interval=1
GresTypes=gpu
KillWait={kill_wait}
MessageTimeout=3
ReturnToService=2
MpiDefault=none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs-done
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=short Nodes=ALL MaxTime=2 State=UP PriorityTier=1 OverTimeLimit=1
PartitionName=endless Nodes=ALL State=UP PriorityTier=1 OverTimeLimit=UNLIMITED
PartitionName=urgent Nodes=ALL State=UP PriorityTier=9 PreemptMode=OFF
"""
# Ends whatever has this configuration in its environment once nobody holds the other end: however
# the process of the tests ends, nothing is left of its cluster.
_KEEPER = """
import os, signal, sys
sys.stdin.buffer.read()
for _ in range(20):
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if sys.argv[1].encode() in file.read().split(b"\\0") and int(name) != os.getpid():
                    os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass
"""


@dataclass
class Slurm:
    """One cluster. Whoever has `environment` among his variables is on it."""

    folder: Path
    ports: list[int]
    daemons: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def nodes_yaml(self, **node: object) -> str:
        import json

        fields = {
            "name": "cluster",
            "slurm": {"partition": "main"},
            "hardware": {"vcpus": 1, "memory_gib": 0.1},
            "price_per_hour_usd": 1,
            **node,
        }
        return json.dumps({"nodes": [fields]})

    def __call__(self, *words: str, stdin: str = "") -> str:
        """What one of Slurm's commands answers."""
        done = subprocess.run(
            words, input=stdin, env={**os.environ, **self.environment}, capture_output=True,
            text=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout

    def start_daemon(self, name: str, *options: str) -> None:
        program = _DAEMONS[name.split("-")[0]]
        assert program is not None
        with open(self.folder / f"{name}.out", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program, *options], env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def start_controller(self) -> None:
        self.start_daemon("slurmctld", "-D")
        wait_for(self._answers)

    def kill_controller(self) -> None:
        """As `kill -9`: what it did not write down is forgotten."""
        os.kill(self.daemons["slurmctld"].pid, signal.SIGKILL)
        self.daemons.pop("slurmctld").wait()

    def resume_nodes(self) -> None:
        """As an operator does: a controller that forgot a job gives its id to another, and drains
        the node where it then finds both ("Duplicate jobid").
        """
        for number in range(1, NODES + 1):
            with contextlib.suppress(subprocess.CalledProcessError):
                self("scontrol", "update", f"nodename=n{number}", "state=resume")

    def _answers(self) -> bool:
        # Asked without Slurm's own patience, of nine seconds.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.ports[0]), timeout=1).close()
            self.resume_nodes()
            with contextlib.suppress(subprocess.CalledProcessError):
                ready = self("sinfo", "-h", "-N", "-p", "main", "-t", "idle,mix,alloc,comp")
                return ready.count("\n") == NODES
        return False


@contextlib.contextmanager
def running_slurm() -> Iterator[Slurm]:
    """A started cluster, gone in the end with all its jobs."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as text:
        slurm = Slurm(Path(text), _free_ports(1 + NODES))
        _configure(slurm)
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, f"SLURM_CONF={text}/slurm.conf"],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            munge = slurm.folder / "munge"
            slurm.start_daemon(
                "munged", "--foreground", f"--key-file={munge}/key",
                f"--socket={text}/socket/munge", f"--pid-file={munge}/pid",
                f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--num-threads=4",
            )  # fmt: skip
            wait_for(lambda: (slurm.folder / "socket" / "munge").exists())
            for number in range(1, NODES + 1):
                slurm.start_daemon(f"slurmd-{number}", "-D", "-N", f"n{number}")
            slurm.start_controller()
            yield slurm
        finally:
            keeper.communicate(b"")
            for daemon in slurm.daemons.values():
                daemon.kill()
                daemon.wait()


def _configure(slurm: Slurm) -> None:
    folder = slurm.folder
    folder.chmod(0o755)
    for name, mode in (("munge", 0o700), ("socket", 0o755), ("state", 0o755)):
        (folder / name).mkdir(mode=mode)
        (folder / name).chmod(mode)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(256))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    nodes = "\n".join(
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
        f"RealMemory=8000 Gres=gpu:{GPUS}"
        for number, port in enumerate(slurm.ports[1:], 1)
    )
    (folder / "slurm.conf").write_text(
        _CONFIGURATION.format(
            folder=folder, port=slurm.ports[0], nodes=nodes, kill_wait=KILL_WAIT_S,
            user=getpwuid(os.getuid()).pw_name,
        )
    )  # fmt: skip
    (folder / "gres.conf").write_text(_gpus(folder))


def _gpus(folder: Path) -> str:
    """Device nodes of no device, where they may be made; else numbers alone."""
    try:
        for number in range(GPUS):
            mode, device = 0o600 | stat.S_IFCHR, os.makedev(240, 200 + number)
            os.mknod(folder / f"gpu{number}", mode, device)
    except OSError:
        return f"Name=gpu Count={GPUS} Flags=CountOnly\n"
    return f"Name=gpu Count={GPUS} File={folder}/gpu[0-{GPUS - 1}]\n"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def main() -> None:
    """`make slurm-loopback`: a cluster to try runs on, until it is interrupted."""
    with running_slurm() as slurm:
        nodes = slurm.folder / "nodes.yaml"
        nodes.write_text(slurm.nodes_yaml())
        print(f"A Slurm stands on loopback: {NODES} nodes, each {CPUS} CPUs and {GPUS} GPUs. In "
              "another terminal:\n", file=sys.stderr)  # fmt: skip
        print(f"export SLURM_CONF={slurm.environment['SLURM_CONF']}")
        print(f"export MLBROKER_NODES={nodes}", flush=True)
        print("mlbroker run JOB --on slurm --budget 0.05 --yes", flush=True)
        print("\nEnd it with Ctrl-C.", file=sys.stderr)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
