"""What the processor packages drew, by the counters of the kernel (RAPL)."""

import glob
import os
from typing import Optional

RAPL = "/sys/class/powercap"


class PackageEnergy:
    """Joules of the processor packages, where the kernel lets us read them."""

    def __init__(self) -> None:
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it.
        found = glob.glob(os.path.join(RAPL, "intel-rapl:*"))
        self._paths = [path for path in found if os.path.basename(path).count(":") == 1]
        self._last = [self._read(path, "energy_uj") for path in self._paths]
        self._sum_uj = 0

    def joules(self) -> Optional[float]:
        """Since the start; None where it cannot be read."""
        if not self._paths or None in self._last:
            return None
        for index, path in enumerate(self._paths):
            now, before = self._read(path, "energy_uj"), self._last[index]
            if now is None or before is None:
                return None
            if now < before:  # the counter wraps around
                before -= self._read(path, "max_energy_range_uj") or before
            self._sum_uj += now - before
            self._last[index] = now
        return self._sum_uj / 1e6

    @staticmethod
    def _read(path: str, name: str) -> Optional[int]:
        try:
            with open(os.path.join(path, name), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None
