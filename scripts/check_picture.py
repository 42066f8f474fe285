"""Draw docs/check-comment.png: the sample repository's comment, as a forge renders it.

Needs Debian's chromium; `make check-demo` has to have made the sample repository.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from check_demo import FOLDER, MLBROKER
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "check-comment.png"
STYLE = """
body { margin: 0; background: #fff; font: 14px/1.5 -apple-system, "Noto Sans", "DejaVu Sans",
  Helvetica, Arial, sans-serif; color: #1f2328; }
.comment { border: 1px solid #d1d9e0; border-radius: 6px; margin: 16px; width: 1080px; }
.head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0;
  padding: 8px 16px; color: #59636e; }
.head b { color: #1f2328; }
.body { padding: 4px 16px 12px; }
h3 { font-size: 1.25em; margin: 12px 0 8px; }
table { border-collapse: collapse; margin: 12px 0; font-size: 13px; }
th, td { border: 1px solid #d1d9e0; padding: 6px 10px; }
tr:nth-child(2n) td { background: #f6f8fa; }
code { background: #eff1f3; border-radius: 6px; padding: .2em .4em; font-size: 85%; }
sub { color: #59636e; font-size: 85%; line-height: 1.6; vertical-align: baseline; }
ul { padding-left: 2em; }
"""


def main() -> int:
    done = subprocess.run(
        [*(MLBROKER, "check", "--base", "main", "--measure", "measurements.csv"),
         *("--max-increase", "50%", "--format", "markdown")],
        cwd=FOLDER, env=os.environ | {"MLBROKER_HOME": str(ROOT / ".demo" / "home")},
        capture_output=True, text=True,
    )  # fmt: skip
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    body = markdown.render(done.stdout).replace("<details>", "<details open>")
    page = (
        f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><div class=comment>"
        "<div class=head><b>github-actions</b> bot commented just now</div>"
        f"<div class=body>{body}</div></div>"
    )
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "comment.html"
        html.write_text(page, encoding="utf-8")
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--no-first-run", f"--user-data-dir={folder}/profile"),
                f"--screenshot={PICTURE}",
                *("--window-size=1114,840", html.as_uri()),
            ],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    print(f"Wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
