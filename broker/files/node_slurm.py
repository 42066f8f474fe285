"""The `slurm:` block of a node: a place of a cluster that Slurm schedules, for one job at a time.

nodes:
  - name: cluster-gpu
    slurm:                      # {} where the defaults do
      partition: gpu            # else the cluster's default
      account: lab
      qos: normal
      constraint: a100
      gres: gpu:a100            # what a GPU is called there; else gpu
      folder: /shared/mlbroker  # seen by the nodes too; else the state folder
    hardware: {vcpus: 8, memory_gib: 64, gpu: A100, gpu_count: 1, gpu_memory_gib: 40}
    price_per_hour_usd: 1.10
"""

from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.files.values import matching
from mlbroker.broker.files.yaml_fields import Fields

KEYS = ("partition", "account", "qos", "constraint", "gres", "folder")
# Values are words of sbatch's own command line, behind a `=`: none of them begins an option.
_WORD = matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", "a name")
_CONSTRAINT = matching(r"[A-Za-z0-9_\[(][A-Za-z0-9_.,&|*()\[\]!-]{0,199}", "a constraint of Slurm")
_GRES = matching(r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,62}", "a generic resource", "gpu, or gpu:a100")


@dataclass(frozen=True, slots=True)
class SlurmPlace:
    """What of a cluster to ask for; None is what the cluster does by itself."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str = "gpu"
    folder: Path | None = None


def slurm_place(fields: Fields, above: Path) -> SlurmPlace:
    """The block, with its folder relative to `above`. InputError where it is none."""
    fields.refuse_unknown(KEYS)
    folder = fields.text("folder")
    return SlurmPlace(
        partition=fields.value("partition", _WORD),
        account=fields.value("account", _WORD),
        qos=fields.value("qos", _WORD),
        constraint=fields.value("constraint", _CONSTRAINT),
        gres=fields.value("gres", _GRES) or "gpu",
        folder=None if folder is None else (above / Path(folder).expanduser()).absolute(),
    )
