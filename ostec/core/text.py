"""Text as one may print it."""

from collections.abc import Sequence
from pathlib import Path

MOST_COLUMNS = 100
"""Of a table's lines."""


def shown(text: str | Path, keep: str = "") -> str:
    """A name or a sentence as one may print it: controls and bytes that are no UTF-8 are escaped, but for ``keep``."""
    text = str(text)
    if text.isprintable():  # a long data URL, for one
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 photo``, ``2 photos``; ``plural`` where an s is not enough."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def align(cells: Sequence[Sequence[str]], words: int, heads: int = 0) -> list[str]:
    """Lines of a table whose first ``words`` columns are flush left, the others flush right.

    What is wider than :data:`MOST_COLUMNS` goes on below, after a blank line and behind the first ``heads`` columns
    once more (0: behind the words).
    """
    cells = [[shown(cell) for cell in row] for row in cells]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    first = range(heads or words)
    blocks: list[list[int]] = [[*first]]
    for k in range(len(first), len(widths)):
        if len(blocks[-1]) > len(first) and sum(widths[c] + 2 for c in [*blocks[-1], k]) - 2 > MOST_COLUMNS:
            blocks.append([*first])
        blocks[-1].append(k)
    lines = []
    for block in blocks:
        for row in cells:
            aligned = (row[k].ljust(widths[k]) if k < words else row[k].rjust(widths[k]) for k in block)
            lines.append("  ".join(aligned).rstrip())
        lines.append("")
    return lines[:-1]
