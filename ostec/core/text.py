"""Text as one may print it."""

from pathlib import Path


def shown(text: str | Path, keep: str = "") -> str:
    """A name or a sentence as one may print it: controls and bytes that are no UTF-8 are escaped, but for ``keep``."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in str(text))
