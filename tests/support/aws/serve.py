"""The loopback AWS for people to play with: `make aws-loopback`, then follow what it prints."""

import argparse
import signal
import sys
import threading

from tests.support.aws.server import environment, serving


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4599)
    parser.add_argument("--no-capacity", metavar="ZONE", action="append", default=[])
    parser.add_argument(
        "--interrupt-after", metavar="SECONDS", type=float, help="announce the end of spot machines"
    )
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serving(execute=True, port=options.port) as world:
        world.ec2.machines.boot_s = 2.0
        world.ec2.machines.shutdown_s = 1.0
        for zone in options.no_capacity:
            world.ec2.capacity["*", zone, "*"] = 0
        world.ec2.preempt_after_s = options.interrupt_after
        print(f"A strict AWS stands at {world.url}. In another terminal:\n", file=sys.stderr)
        for name, value in environment(world.url).items():
            print(f"export {name}={value}", flush=True)
        print("\nEnd it with Ctrl-C.", file=sys.stderr)
        stop.wait()


if __name__ == "__main__":
    main()
