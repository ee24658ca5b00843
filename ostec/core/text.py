"""Text as one may print it."""

from collections.abc import Sequence
from pathlib import Path


def shown(text: str | Path, keep: str = "") -> str:
    """A name or a sentence as one may print it: controls and bytes that are no UTF-8 are escaped, but for ``keep``."""
    text = str(text)
    if text.isprintable():  # a long data URL, for one
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 photo``, ``2 photos``; ``plural`` where an s is not enough."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def align(cells: Sequence[Sequence[str]], words: int) -> list[str]:
    """Lines of a table whose first ``words`` columns are flush left, the others flush right; one line a row."""
    cells = [[shown(cell) for cell in row] for row in cells]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    return [
        "  ".join(
            c.ljust(w) if k < words else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
