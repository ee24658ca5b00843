"""Names of a face's files: as members of a shard (``KEY.head.glb``), and beside a result (``KEY_head.glb``)."""

import re
from collections.abc import Callable

MESH, PROVENANCE, RECORD, TEXTURE, PORTRAIT = "mesh.npz", "provenance.png", "json", "uv.png", "frontal.png"
"""Endings of members."""
_PLAIN = {".png": TEXTURE, ".npz": MESH, ".json": RECORD}
"""What follows NAME in the files of ``ostec complete`` -> the ending, where a dot for _ is not enough."""
_FILES = {ending: rest for rest, ending in _PLAIN.items()}
_VIEWS = "views."
_REFERRING = (".obj", ".mtl")
_REFERENCE = re.compile(rb"^((?:mtllib|map_Kd)[ \t]+)([^\r\n]+?)([ \t]*\r?)$", re.MULTILINE)


def ending_of(rest: str) -> str:
    """``uv.png`` for what follows NAME in NAME.png, ``head.glb`` in NAME_head.glb, ``views.left.png`` in NAME_views."""
    return _PLAIN.get(rest) or rest.lstrip("_.").replace("/", ".").replace(" ", "_")


def file_name(key: str, ending: str) -> str:
    """``KEY_frontal.png`` for ``frontal.png``, ``KEY_views/left.png`` for ``views.left.png``."""
    if ending in _FILES:
        return key + _FILES[ending]
    if ending.startswith(_VIEWS):
        return f"{key}_views/{ending.removeprefix(_VIEWS)}"
    return f"{key}_{ending}"


def face_key(photo: str, number: int) -> str:
    """``ID_FACE`` of a photo's id and the number of the face from 1."""
    return f"{photo}_{number}"


def renamed(ending: str, data: bytes, name_of: Callable[[str], str]) -> bytes:
    """An OBJ or MTL file with other names of the material and pictures that it refers to; other files as they are.

    Args:
        ending: of the member.
        data: its bytes.
        name_of: name that stands there -> name to stand there.
    """
    if not ending.endswith(_REFERRING):
        return data

    def other(found: re.Match[bytes]) -> bytes:
        name = name_of(found[2].decode("utf-8", "surrogateescape"))
        return found[1] + name.encode("utf-8", "surrogateescape") + found[3]

    return _REFERENCE.sub(other, data)
