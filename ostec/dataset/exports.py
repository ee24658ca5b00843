"""A dataset in the layouts of other programs."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ostec.core.errors import UsageError
from ostec.dataset.arrow import Found, write_arrow, write_parquet
from ostec.dataset.attributes import loaded
from ostec.dataset.finished import FRONT, FRONTAL, MESH, RECORD, TEXTURE, FinishedDataset, need, read_face, read_latents
from ostec.io.files import make_folder, write_atomic
from ostec.io.latents import encode_latent
from ostec.io.shards import pack_members, write_shard

Format = Literal["ffhq-uv", "folder", "webdataset", "parquet", "datasets"]
_FFHQ_UV_VIEWS = (FRONT, "left", "right")
_FFHQ_UV_LATENT = (18, 512)
_PER_FOLDER = 1000
_NAMES = {TEXTURE: ".png", MESH: ".npz", RECORD: ".json"}
"""Endings of members -> of the files of ``ostec complete``, where ``_`` before the ending is not enough."""


@dataclass
class Exported:
    """What an export came to."""

    faces: int = 0
    remarks: list[str] = field(default_factory=list)
    """What the format asks for and the dataset does not have, a sentence each."""


def export(source: FinishedDataset, out: Path, form: Format, members: Collection[str] = ()) -> Exported:
    """Write the finished faces of a dataset; each shard is compared with its checksum first.

    Args:
        source: the dataset.
        out: an empty folder.
        form: the layout.
        members: endings of the members to take along; empty for all. ffhq-uv takes what belongs to it, parquet and
            datasets take pictures and the record.

    Raises:
        UsageError: no face is finished, or none has a member of that ending.
        AssetError: a shard is damaged, or lacks what the format needs.
        OutputError: something cannot be written.
    """
    exported = Exported()
    if form == "ffhq-uv":
        _ffhq_uv(source, out, exported)
    elif form == "folder":
        _folder(_faces(source, members, exported), out)
    elif form == "webdataset":
        _webdataset(source, members, out, exported)
    else:
        write = write_parquet if form == "parquet" else write_arrow
        write(_faces(source, members, exported), out)
    if not exported.faces:
        raise UsageError(f"{source.folder} has no face to export{' with those members' if members else ''}.")
    return exported


def _faces(source: FinishedDataset, members: Collection[str], exported: Exported) -> Found:
    for _, rows in source.checked_shards():
        for row in rows:
            found = read_face(source.place(row), members or None)
            if found:
                exported.faces += 1
                yield row, found


def _ffhq_uv(source: FinishedDataset, out: Path, exported: Exported) -> None:
    """``uv-maps/000000.png``, ``face-latents/000/000000/000000_front_latent.pt``, ``meta-info.json``.

    Names and fields of the meta information as in the published file (csbhr/FFHQ-UV, issue 79: six digits -> Age,
    Beard, Gender, Index-in-FFHQ); folders of the latents as its DataSet_Step3_Editing/gen_face_from_latent.py reads
    them.
    """
    maps = make_folder(out / "uv-maps")
    meta: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    shapes: set[tuple[int, ...]] = set()
    without = 0
    for number, (row, found) in enumerate(_faces(source, {TEXTURE, MESH, FRONTAL}, exported)):
        name, place = f"{number:06d}", source.place(row)
        write_atomic(maps / f"{name}.png", need(found, TEXTURE, place))
        latents = read_latents(found, place)
        views = {view: latents[view] for view in _FFHQ_UV_VIEWS if view in latents}
        without += FRONT not in views
        for view, latent in views.items():
            shapes.add(latent.shape)
            folder = make_folder(out / "face-latents" / f"{number // _PER_FOLDER:03d}" / name)
            write_atomic(folder / f"{name}_{view}_latent.pt", encode_latent(latent))
        attributes = loaded(row)
        meta[name] = {key: attributes.get(key) for key in ("Age", "Beard", "Gender", "Index-in-FFHQ")}
        lines.append(json.dumps({"number": name, "key": row["key"], "source": row["source"]}))
    write_atomic(out / "meta-info.json", (json.dumps(meta, indent=4, sort_keys=True) + "\n").encode("ascii"))
    write_atomic(out / "sources.jsonl", "".join(f"{line}\n" for line in lines).encode("ascii"))
    exported.remarks += _ffhq_uv_remarks(meta, shapes, without)


def _ffhq_uv_remarks(meta: Mapping[str, Mapping[str, Any]], shapes: set[tuple[int, ...]], without: int) -> list[str]:
    remarks = ["The UV maps are in the layout of this dataset, not in that of HiFi3D++; see ostec transfer."]
    if without:
        remarks.append(f"{without} of {len(meta)} faces have no latents of their front view: it was not projected.")
    for shape in sorted(shapes - {_FFHQ_UV_LATENT}):
        remarks.append(
            f"Latents are [1, {', '.join(map(str, shape))}] of this dataset's generator; FFHQ-UV's scripts expect "
            "[1, 18, 512] of stylegan2-ffhq-config-f."
        )
    if shapes:
        remarks.append("The latents' files hold no attribute [1, 17, 1, 1]: it belongs to StyleFlow.")
    unknown = [key for key in ("Age", "Beard", "Gender") if all(entry[key] is None for entry in meta.values())]
    if unknown:
        remarks.append(f"The dataset has no attributes {', '.join(unknown)}: they are null in meta-info.json.")
    return remarks


def _folder(faces: Found, out: Path) -> None:
    """Files named as those of ``ostec complete``, with the key as NAME."""
    for row, found in faces:
        for ending, data in found.items():
            path = out / file_name(str(row["key"]), ending)
            if path.parent != out:
                make_folder(path.parent)
            write_atomic(path, data)


def file_name(key: str, ending: str) -> str:
    """``KEY_frontal.png`` for ``frontal.png``, ``KEY_views/left.png`` for ``views.left.png``."""
    if ending in _NAMES:
        return key + _NAMES[ending]
    if ending.startswith("views."):
        return f"{key}_views/{ending.removeprefix('views.')}"
    return f"{key}_{ending}"


def _webdataset(source: FinishedDataset, members: Collection[str], out: Path, exported: Exported) -> None:
    """``000000.tar``, ... without gaps, so that ``{000000..000041}.tar`` names them all."""
    number = 0
    for _, rows in source.checked_shards():
        path = out / f"{number:06d}.tar"
        places = [source.place(row) for row in rows]
        if members:
            part = path.with_suffix(".part")
            spans = []
            with part.open("wb") as stream:
                for place in places:
                    found = {f"{place.key}.{end}": data for end, data in read_face(place, members).items()}
                    packed = pack_members(found.items())
                    spans += [(part, stream.tell(), len(packed))] if found else []
                    stream.write(packed)
            if spans:
                write_shard(path, spans)
            part.unlink()
        else:
            spans = [(place.shard, place.start, place.size) for place in places]
            write_shard(path, spans)
        exported.faces += len(spans)
        number += bool(spans)
