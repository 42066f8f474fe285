"""The loopback Azure for people to play with: `make azure-loopback`, and what it prints."""

import argparse
import signal
import sys
import threading

from tests.support.azure import catalog
from tests.support.azure.server import environment, serving


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4700)
    parser.add_argument("--no-capacity", metavar="SIZE", action="append", default=[])
    parser.add_argument(
        "--evict-after", metavar="SECONDS", type=float, help="take the first spot machine away"
    )
    options = parser.parse_args()
    catalog.sell_all()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serving(execute=True, port=options.port) as world:
        world.arm.machines.boot_s = 2.0
        world.arm.machines.shutdown_s = 1.0
        for size in options.no_capacity:
            world.arm.limits.capacity[size, "*", "*"] = 0
        world.arm.preempt_after_s = options.evict_after
        print(f"A strict Azure stands at {world.url}. In another terminal:\n", file=sys.stderr)
        for name, value in environment(world.url).items():
            print(f"export {name}={value}", flush=True)
        print("\nEnd it with Ctrl-C.", file=sys.stderr)
        stop.wait()


if __name__ == "__main__":
    main()
