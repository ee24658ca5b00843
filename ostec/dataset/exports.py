"""A dataset in the layouts of other programs."""

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ostec.core.errors import AssetError, UsageError
from ostec.core.record import RESULT
from ostec.core.settings import to_json
from ostec.core.text import counted, shown
from ostec.dataset.arrow import MEMBERS, Found, write_arrow, write_parquet
from ostec.dataset.attributes import loaded
from ostec.dataset.card import Form, hub_features, pictures, write_card
from ostec.dataset.finished import FRONT, FRONTAL, FinishedDataset, need, read_face, read_latents
from ostec.dataset.licences import licence_at
from ostec.dataset.manifest import Row
from ostec.dataset.members import MESH, RECORD, TEXTURE, file_name, renamed
from ostec.dataset.readme import NAME, Loading
from ostec.dataset.store import record_bytes
from ostec.io.files import make_folder, write_atomic
from ostec.io.shards import pack_members, read_members, write_shard
from ostec.load.generators import encode_latent

Format = Literal["ffhq-uv", "folder", "webdataset", "parquet", "datasets"]
_FFHQ_UV_VIEWS = (FRONT, "left", "right")
_FFHQ_UV_LATENT = (18, 512)
_PER_FOLDER = 1000
_TABLES = ("parquet", "datasets")
_TOLD = {
    "ffhq-uv": "in FFHQ-UV's layout: textures in `uv-maps`, latents in `face-latents`, attributes in `meta-info.json`",
    "folder": "as files, named as by `ostec complete`",
    "webdataset": "as tar files in WebDataset's layout",
    "parquet": "as Parquet files",
    "datasets": "as Arrow files",
}
_READ = {
    "folder": 'ostec.export.record.read_records(Path("DIR"))  # name -> record; NAME.png is its texture',
    "webdataset": 'datasets.load_dataset("DIR", split="train")  # or: webdataset.WebDataset("DIR/000000.tar")',
    "parquet": 'datasets.load_dataset("DIR", split="train")',
    "datasets": 'datasets.load_from_disk("DIR")',
}
_IMPORTS = {"folder": "from pathlib import Path\n\nimport ostec.export.record"}


@dataclass
class Exported:
    """What an export came to."""

    faces: int = 0
    remarks: list[str] = field(default_factory=list)
    """What the format asks for and the dataset does not have, a sentence each."""
    without: set[str] = field(default_factory=set)
    """Keys of the faces that have none of the members asked for."""


def export(source: FinishedDataset, out: Path, form: Format, members: Collection[str] = ()) -> Exported:
    """Write the finished faces of a dataset; each shard is compared with its checksum first.

    ``README.md`` says what it is, with the licences.

    Args:
        source: the dataset.
        out: an empty folder.
        form: the layout.
        members: endings of the members to take along; empty for all. ffhq-uv takes what belongs to it, parquet and
            datasets take pictures and the record.

    Raises:
        UsageError: no face is finished, no face has a member of such an ending, or the format has no place for it.
        AssetError: a shard is damaged, or lacks what the format needs.
        OutputError: something cannot be written.
    """
    _check_members(source, form, members)
    exported = Exported()
    if form == "ffhq-uv":
        _ffhq_uv(source, out, exported)
    elif form == "folder":
        _folder(_faces(source, members, exported), out)
        exported.remarks += _folder_remarks(members)
    elif form == "webdataset":
        _webdataset(source, members, out, exported)
    elif form == "parquet":
        write_parquet(_faces(source, members, exported), out)
    else:
        licences = sorted({build.licence for build in source.builds() if build.licence})
        write_arrow(_faces(source, members, exported), out, "; ".join(licences))
    if not exported.faces:
        raise UsageError(f"{source.folder} has no face to export.")
    _write_card(source, out, form, members, exported)
    return exported


def _check_members(source: FinishedDataset, form: Format, members: Collection[str]) -> None:
    """Raise UsageError if an ending is unknown, or the format has no place for it."""
    if not members:
        return
    asked = ", ".join(map(shown, members))
    if form == "ffhq-uv":
        raise UsageError(f"--format ffhq-uv takes what its layout has; --members {asked} does not go with it.")
    if form in _TABLES and (other := [member for member in members if member not in MEMBERS]):
        raise UsageError(
            f"--format {form} has columns for {', '.join(MEMBERS)}, not for {', '.join(map(shown, other))}."
        )
    left, known = set(members), set[str]()
    for place in map(source.place, source.faces()):
        found = {member.ending for member in read_members(place.shard, place.start, place.start + place.size)}
        left -= found
        known |= found
        if not left:
            return
    if known:
        names = ", ".join(map(shown, sorted(left)))
        raise UsageError(f"No face of {source.folder} has the member {names}; it has {', '.join(sorted(known))}.")


def _write_card(source: FinishedDataset, out: Path, form: Format, members: Collection[str], exported: Exported) -> None:
    taken = f" Taken along: {', '.join(members)}." if members else ""
    config = to_json(source.config)
    portrait = bool(config["settings"].get("frontalize"))
    shown_so = [ending for ending in pictures(portrait) if not members or ending in members]
    loading = {
        "webdataset": Loading("*.tar", hub_features(shown_so)),
        "parquet": Loading("data/train-*.parquet"),
    }.get(form, Loading(""))
    reading = ""
    if form in _READ:
        imports = _IMPORTS.get(form, "import datasets")
        reading = f"## Reading\n\n```python\n{imports}\n\nfaces = {_READ[form]}\n```\n"
    told = f"An export of a dataset of ostec, {_TOLD[form]}.{taken}"
    rows = (row for row in source.faces() if row["key"] not in exported.without)
    card = Form(source.folder, loading, told, reading, tuple(exported.remarks))
    write_card(out / NAME, rows, source.builds(), config, card)


def _faces(source: FinishedDataset, members: Collection[str], exported: Exported) -> Found:
    builds = source.builds()
    for shard, rows in source.checked_shards():
        licence = licence_at(builds, shard)
        for row in rows:
            found = read_face(source.place(row), members or None)
            if found:
                exported.faces += 1
                yield {**row, "licence": licence}, found
            else:
                exported.without.add(row["key"])


def _ffhq_uv(source: FinishedDataset, out: Path, exported: Exported) -> None:
    """``uv-maps/000000.png``, ``face-latents/000/000000/000000_front_latent.pt``, ``meta-info.json``.

    Names and fields of the meta information as in the published file (csbhr/FFHQ-UV, issue 79: six digits -> Age,
    Beard, Gender, Index-in-FFHQ); folders of the latents as its DataSet_Step3_Editing/gen_face_from_latent.py reads
    them: it takes every folder to have all three views, and ends at the first one that has not.
    """
    maps = make_folder(out / "uv-maps")
    meta: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    shapes: set[tuple[int, ...]] = set()
    lacking = dict.fromkeys(_FFHQ_UV_VIEWS, 0)
    without = 0
    for number, (row, found) in enumerate(_faces(source, {TEXTURE, MESH, FRONTAL}, exported)):
        name, place = f"{number:06d}", source.place(row)
        write_atomic(maps / f"{name}.png", need(found, TEXTURE, place))
        latents = read_latents(found, place)
        missing = [view for view in _FFHQ_UV_VIEWS if view not in latents]
        without += bool(missing)
        for view in missing:
            lacking[view] += 1
        for view in () if missing else _FFHQ_UV_VIEWS:
            shapes.add(latents[view].shape)
            folder = make_folder(out / "face-latents" / f"{number // _PER_FOLDER:03d}" / name)
            write_atomic(folder / f"{name}_{view}_latent.pt", encode_latent(latents[view]))
        attributes = loaded(row)
        meta[name] = {key: attributes.get(key) for key in ("Age", "Beard", "Gender", "Index-in-FFHQ")}
        own = {"number": name, "key": row["key"], "source": row["source"], "licence": row["licence"]}
        lines.append(json.dumps(own))
    write_atomic(out / "meta-info.json", (json.dumps(meta, indent=4, sort_keys=True) + "\n").encode("ascii"))
    write_atomic(out / "sources.jsonl", "".join(f"{line}\n" for line in lines).encode("ascii"))
    exported.remarks += _ffhq_uv_remarks(meta, shapes, without, lacking)


def _ffhq_uv_remarks(
    meta: Mapping[str, Mapping[str, Any]], shapes: set[tuple[int, ...]], without: int, lacking: Mapping[str, int]
) -> list[str]:
    remarks = ["The UV maps are in the layout of this dataset, not in that of HiFi3D++; see ostec transfer."]
    if without:
        views = ", ".join(f"{view} {count}" for view, count in lacking.items() if count)
        remarks.append(
            f"{without} of {counted(len(meta), 'face')} have no folder in face-latents, where FFHQ-UV's scripts expect "
            f"{', '.join(_FFHQ_UV_VIEWS)} of each; without, for it was not projected or not kept: {views}."
        )
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
    """Files named as those of ``ostec complete``, with the key as NAME; KEY.json is the last one of each face."""
    for row, found in faces:
        key = str(row["key"])
        names = {ending: file_name(key, ending) for ending in found}
        for ending, data in found.items():
            if ending != RECORD:
                _write(out / names[ending], out, renamed(ending, data, functools.partial(_file_of, key)))
        if RECORD in found:
            _write(out / names[RECORD], out, _record(row, found[RECORD], sorted(names.values())))


def _write(path: Path, out: Path, data: bytes) -> None:
    if path.parent != out:
        make_folder(path.parent)
    write_atomic(path, data)


def _file_of(key: str, name: str) -> str:
    """The file that a member KEY.head.mtl becomes."""
    own = f"{key}."
    return file_name(key, name.removeprefix(own)) if name.startswith(own) else name


def _record(row: Row, data: bytes, files: list[str]) -> bytes:
    """KEY.json as a record of ``ostec complete``, with what the dataset knows besides."""
    try:
        record = json.loads(data)
        count = int(record["faces"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AssetError(f"The record of {row['key']} is damaged ({error}).") from error
    record |= {"kind": RESULT, "files": files, "licence": row["licence"]}
    record["faces"] = {"count": count, "index": row["face"]}
    return record_bytes(record)


def _folder_remarks(members: Collection[str]) -> list[str]:
    if not members:
        return []
    if RECORD not in members:
        return ["Without json, nothing tells the programs here which files are whose."]
    return [] if {TEXTURE, MESH} <= set(members) else ["ostec transfer needs uv.png and mesh.npz too."]


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
                    exported.without |= set() if found else {place.key}
                    stream.write(packed)
            if spans:
                write_shard(path, spans)
            part.unlink()
        else:
            spans = [(place.shard, place.start, place.size) for place in places]
            write_shard(path, spans)
        exported.faces += len(spans)
        number += bool(spans)
