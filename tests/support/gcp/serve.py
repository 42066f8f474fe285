"""The loopback Google Cloud for people to play with: `make gcp-loopback`, and what it prints."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.gcp import catalog
from tests.support.gcp.server import environment, serving


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4600)
    parser.add_argument("--no-capacity", metavar="ZONE", action="append", default=[])
    parser.add_argument(
        "--preempt-after", metavar="SECONDS", type=float, help="take the first spot machine away"
    )
    options = parser.parse_args()
    catalog.sell_all()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with (
        tempfile.TemporaryDirectory(prefix="mlbroker-google-") as folder,
        serving(execute=True, port=options.port) as world,
    ):
        world.gce.machines.boot_s = 2.0
        world.gce.machines.shutdown_s = 1.0
        for zone in options.no_capacity:
            world.gce.limits.capacity["*", zone, "*"] = 0
        world.gce.preempt_after_s = options.preempt_after
        print(f"A strict Google Cloud stands at {world.url}. In another terminal:\n",
              file=sys.stderr)  # fmt: skip
        for name, value in environment(world.url, Path(folder)).items():
            print(f"export {name}={value}", flush=True)
        print("\nEnd it with Ctrl-C.", file=sys.stderr)
        stop.wait()


if __name__ == "__main__":
    main()
