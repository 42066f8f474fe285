"""Take the rated film-review sentences out of vaderSentiment's source distribution."""

import os
import sys
import tarfile

PAPER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def main(archive: str, target: str) -> None:
    with (
        tarfile.open(archive) as outer,
        tarfile.open(fileobj=outer.extractfile(PAPER)) as inner,
    ):
        text = inner.extractfile(SENTENCES).read()
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # Written whole or not at all: set-up takes the file's presence as done.
    with open(target + ".part", "wb") as file:
        file.write(text)
    os.replace(target + ".part", target)


if __name__ == "__main__":
    main(*sys.argv[1:])
