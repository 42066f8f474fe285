"""A loopback cloud for people to play with: `make aws-loopback` and the like."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.spot_runs import Market, Outage
from tests.support.vendors import VENDORS, vendor_named

# So that what was exported once stays true.
PORTS = {"aws": 4599, "gcp": 4600, "azure": 4700}


def outage(text: str) -> Outage:
    """`us-east-1a:60-600`."""
    place, _, span = text.rpartition(":")
    begin, _, end = span.partition("-")
    try:
        found = Outage(place, float(begin), float(end) - float(begin))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not PLACE:FROM-UNTIL") from None
    if not place or found.for_s <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not PLACE:FROM-UNTIL")
    return found


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cloud", choices=VENDORS)
    parser.add_argument("--port", type=int)
    parser.add_argument(
        "--no-capacity", metavar="WHAT", action="append", default=[],
        help="a zone without machines; on Azure a size of which there are none",
    )  # fmt: skip
    parser.add_argument(
        "--preempt-after", metavar="SECONDS", type=float, help="take the first spot machine away"
    )
    parser.add_argument(
        "--no-spot", metavar="PLACE:FROM-UNTIL", action="append", default=[], type=outage,
        help="from that second on the spot machines of a zone (on Azure a region) are taken, after "
        "their notice, and there are none until that second: us-east-1a:60-600",
    )  # fmt: skip
    options = parser.parse_args()
    vendor = vendor_named(options.cloud)
    port = PORTS[options.cloud] if options.port is None else options.port
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with (
        tempfile.TemporaryDirectory(prefix="mlbroker-account-") as folder,
        vendor.serving(execute=True, port=port) as world,
    ):
        world.sell_all()
        for what in options.no_capacity:
            world.sell_out(what)
        world.control.machines.boot_s = 2.0
        world.control.machines.shutdown_s = 1.0
        world.control.preempt_after_s = options.preempt_after
        Market(world).play(options.no_spot)
        print(f"A strict {vendor.says} stands at {world.url}. In another terminal:\n",
              file=sys.stderr)  # fmt: skip
        for name, value in vendor.environment(world.url, Path(folder)).items():
            print(f"export {name}={value}", flush=True)
        print("\nEnd it with Ctrl-C.", file=sys.stderr)
        stop.wait()


if __name__ == "__main__":
    main()
