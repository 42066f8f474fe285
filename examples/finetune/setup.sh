#!/bin/sh
# Gets what the job needs from the package registry: PyTorch (large: minutes the first time) and
# the text, in a virtual environment of the job's own. A second call does not touch the network.
set -eu
cd "$(dirname "$0")"

if ! cat requirements.txt text.txt | cmp -s - .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    .venv/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps -r text.txt
    cat requirements.txt text.txt > .venv/installed.txt
fi
