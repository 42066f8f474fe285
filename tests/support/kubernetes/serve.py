"""A loopback cluster for people to play with: `make kubernetes-loopback`."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.kubernetes.server import kubeconfig, nodes_yaml, serving

# So that what was exported once stays true.
PORT = 4800


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--places", type=int, default=2, help="so many pods run at a time")
    parser.add_argument("--quota", type=int, help="so many Jobs the namespace may have")
    parser.add_argument("--evict-after", metavar="SECONDS", type=float, help="the first pod")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with (
        tempfile.TemporaryDirectory(prefix="mlbroker-account-") as text,
        serving(port=options.port) as world,
    ):
        folder = Path(text)
        world.cluster.most_pods, world.job_quota = options.places, options.quota

        def evict() -> None:
            for pod in world.cluster.store.all("pods")[:1]:
                world.cluster.evict(pod)

        if options.evict_after is not None:
            world.clock.after(options.evict_after, evict)
        (folder / "nodes.yaml").write_text(nodes_yaml(world))
        print(f"A strict API server stands at {world.url}. In another terminal:\n", file=sys.stderr)
        print(f"export KUBECONFIG={kubeconfig(world, folder)}", flush=True)
        print(f"export MLBROKER_NODES={folder / 'nodes.yaml'}", flush=True)
        print("\nThen: mlbroker run JOB --on kubernetes. End it with Ctrl-C.", file=sys.stderr)
        stop.wait()


if __name__ == "__main__":
    main()
