"""HTML pages, and the data card, from the templates in ``ostec/export/templates``. The only module that knows jinja2.

Every page is one file with style sheet, scripts and pictures inside, so that it works without a network.
"""

import base64
import functools
import json
from typing import Any
from urllib.parse import quote

from ostec.core.text import shown


def render(name: str, **values: Any) -> bytes:
    """Fill in the template ``name``, ``index.html.j2``, with the values that it names; each must be given.

    All text is escaped in HTML, and shown as :func:`ostec.core.text.shown` shows it: marks that turn the writing
    direction, other controls and bytes that are no text appear as escape sequences. Line breaks stay.
    """
    return str(_templates().get_template(name).render(values)).encode()


def data_url(kind: str, data: bytes) -> str:
    """A picture as a ``data:`` URL; ``kind`` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@functools.cache
def _templates() -> Any:
    import jinja2
    from markupsafe import Markup

    def clean(value: Any) -> Any:
        return value if isinstance(value, Markup) else shown(str(value), keep="\n")

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("ostec.export"),
        autoescape=jinja2.select_autoescape((), ["md.j2", "txt.j2"], default=True),
        undefined=jinja2.StrictUndefined,
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"link": _link, "json": json.dumps, "line": shown}
    templates.filters["cell"] = _cell
    return templates


def _cell(text: str) -> str:
    """Text as a cell or line of Markdown shows it: neither HTML nor a link, a picture or code in it."""
    plain = shown(text)
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), ("[", "&#91;"), ("`", "&#96;"), ("|", "\\|")):
        plain = plain.replace(sign, instead)
    return plain


def _link(name: str) -> str:
    """A file's name as a relative URL; bytes that are no text keep their value."""
    return "./" + quote(name.encode("utf-8", "surrogateescape"))
