"""What the site needs beyond the pages as they are read in the repository."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that lead out of docs/ keep their text alone: the site holds docs/."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Roles of docstrings, such as ``:class:``, become plain code."""
    return re.sub(r":(?:class|func|meth|mod|attr|data):<code>~?", "<code>", html)
