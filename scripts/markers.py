"""Generated blocks in hand-written Markdown: `<!-- NAME:start -->` ... `<!-- NAME:end -->`."""

import re


def replace_block(text: str, name: str, body: str) -> str:
    """`text` with the block's content replaced by `body`; unchanged when it has no such block."""
    block = re.compile(rf"(<!-- {name}:start -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    return block.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
