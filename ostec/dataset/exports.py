"""A dataset in the layouts of other programs.

Tables are written as Hugging Face ``datasets`` stores them, without it: its types are in the schema's metadata
(``huggingface``), and a picture is a struct of ``bytes`` and ``path``.
"""

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ostec.core.errors import AssetError, UsageError
from ostec.core.record import RESULT
from ostec.core.settings import to_json
from ostec.core.text import counted, shown
from ostec.dataset.attributes import loaded
from ostec.dataset.card import NAME, Form, write_card
from ostec.dataset.files import write_json
from ostec.dataset.finished import FRONT, FRONTAL, FinishedDataset, need, read_face, read_latents
from ostec.dataset.manifest import COLUMNS, Row, schema_of
from ostec.dataset.plan import licence_at
from ostec.dataset.recipe import write_measures
from ostec.dataset.records import MESH, PORTRAIT, PROVENANCE, RECORD, TEXTURE, file_name, renamed
from ostec.dataset.store import record_bytes
from ostec.io.files import make_folder, write_atomic
from ostec.io.shards import TRAILER, pack_members
from ostec.load.generators import encode_latent

Format = Literal["ffhq-uv", "folder", "webdataset", "parquet", "datasets"]
Faces = Iterator[tuple[Row, dict[str, bytes]]]  # faces with those of their members that are exported, by ending

_FFHQ_UV_VIEWS = (FRONT, "left", "right")
_FFHQ_UV_LATENT = (18, 512)
_FFHQ_UV_FIELDS = ("Age", "Beard", "Gender", "Index-in-FFHQ")
_PER_FOLDER = 1000
_PICTURES = {"image": TEXTURE, "provenance": PROVENANCE, "frontal": PORTRAIT}  # column -> ending of the member
_MEMBERS = (*_PICTURES.values(), RECORD)
_ROWS_PER_GROUP = 50  # what a writer and a reader have in memory at a time
_GROUPS_PER_FILE = 5
_OF_SHARDS = ("item", "status", "stage", "reason", "shard", "offset", "size")
_VALUES = {**{name: kind for name, kind in COLUMNS.items() if name not in _OF_SHARDS}, "licence": "string"}


@dataclass
class Exported:
    """What an export came to."""

    faces: int = 0
    remarks: list[str] = field(default_factory=list)  # what the dataset lacks, a sentence each
    without: set[str] = field(default_factory=set)  # keys of the faces that have none of the members asked for
    taken: set[str] = field(default_factory=set)  # endings of the members


def export(source: FinishedDataset, out: Path, form: Format, members: Collection[str] = ()) -> Exported:
    """Write the finished faces of a dataset, with a card; each shard is compared with its checksum first.

    Args:
        source: the dataset.
        out: an empty folder.
        form: the layout.
        members: endings of the members to take along; empty for all. ffhq-uv takes what belongs to it, parquet and
            datasets take pictures and the record.

    Raises UsageError if no face is finished, none has a member of such an ending, or the format has no place for it,
    AssetError if a shard is damaged, or lacks what the format needs, OutputError or OSError if something cannot be
    written.
    """
    import pyarrow.compute as pc

    _check_members(form, members)
    exported = Exported()
    faces = _faces(source, {TEXTURE, MESH, FRONTAL} if form == "ffhq-uv" else members, exported)
    if form == "ffhq-uv":
        exported.remarks += _ffhq_uv(faces, source, out)
    elif form == "folder":
        exported.remarks += _folder(faces, out, members)
    elif form == "webdataset":
        _webdataset(faces, out)
    else:
        names = _tables(faces, out, form)
        if form == "datasets":
            _state(out, names, "; ".join(sorted({build.licence for build in source.builds() if build.licence})))
    if missing := sorted(set(members) - exported.taken):
        raise UsageError(f"No face of {source.folder} has the member {', '.join(map(shown, missing))}.")
    if not exported.faces:
        raise UsageError(f"{source.folder} has no face to export.")
    table = source.faces_table()
    if exported.without:
        table = table.filter(~pc.field("key").isin(sorted(exported.without)))
    card = Form(source.folder, form, tuple(members), tuple(exported.remarks))
    write_card(out / NAME, table, source.builds(), to_json(source.config), card)
    return exported


def _check_members(form: Format, members: Collection[str]) -> None:
    """Raise UsageError if the format has no place for a member of such an ending."""
    if members and form == "ffhq-uv":
        asked = ", ".join(map(shown, members))
        raise UsageError(f"--format ffhq-uv takes what its layout has; --members {asked} does not go with it.")
    other = ", ".join(shown(member) for member in members if member not in _MEMBERS)
    if other and form in ("parquet", "datasets"):
        raise UsageError(f"--format {form} has columns for {', '.join(_MEMBERS)}, not for {other}.")


def _faces(source: FinishedDataset, members: Collection[str], exported: Exported) -> Faces:
    builds = source.builds()
    for shard, rows in source.checked_shards():
        for row in rows:
            if found := read_face(source.place(row), members or None):
                exported.faces += 1
                exported.taken |= found.keys()
                yield {**row, "licence": licence_at(builds, shard)}, found
            else:
                exported.without.add(row["key"])


def _ffhq_uv(faces: Faces, source: FinishedDataset, out: Path) -> list[str]:
    """``uv-maps/000000.png``, ``face-latents/000/000000/000000_front_latent.pt``, ``meta-info.json``; what is missing.

    Names and fields of the meta information as in the published file (csbhr/FFHQ-UV, issue 79: six digits -> Age,
    Beard, Gender, Index-in-FFHQ); folders of the latents as its DataSet_Step3_Editing/gen_face_from_latent.py reads
    them: it takes every folder to have all three views, and ends at the first one that has not.
    """
    maps = make_folder(out / "uv-maps")
    meta, lines, shapes = dict[str, dict[str, Any]](), list[str](), set[tuple[int, ...]]()
    lacking, without = Counter[str](), 0
    for number, (row, found) in enumerate(faces):
        name, place = f"{number:06d}", source.place(row)
        write_atomic(maps / f"{name}.png", need(found, TEXTURE, place))
        latents = read_latents(found, place)
        missing = [view for view in _FFHQ_UV_VIEWS if view not in latents]
        without += bool(missing)
        lacking.update(missing)
        for view in () if missing else _FFHQ_UV_VIEWS:
            shapes.add(latents[view].shape)
            folder = make_folder(out / "face-latents" / f"{number // _PER_FOLDER:03d}" / name)
            write_atomic(folder / f"{name}_{view}_latent.pt", encode_latent(latents[view]))
        write_measures(out, name, loaded(row))
        meta[name] = {key: loaded(row).get(key) for key in _FFHQ_UV_FIELDS}
        lines.append(json.dumps({"number": name, **{key: row[key] for key in ("key", "source", "licence")}}) + "\n")
    write_json(out / "meta-info.json", meta, indent=4, sort_keys=True)
    write_atomic(out / "sources.jsonl", "".join(lines).encode("ascii"))
    remarks = ["The UV maps are in the layout of this dataset, not in that of HiFi3D++; see ostec transfer."]
    if without:
        views = ", ".join(f"{view} {lacking[view]}" for view in _FFHQ_UV_VIEWS if lacking[view])
        remarks.append(
            f"{without} of {counted(len(meta), 'face')} have no folder in face-latents, where FFHQ-UV's scripts expect "
            f"{', '.join(_FFHQ_UV_VIEWS)} of each; without, for it was not projected or not kept: {views}."
        )
    remarks += [
        f"Latents are [1, {', '.join(map(str, shape))}] of this dataset's generator; FFHQ-UV's scripts expect "
        "[1, 18, 512] of stylegan2-ffhq-config-f."
        for shape in sorted(shapes - {_FFHQ_UV_LATENT})
    ]
    if shapes:
        remarks.append("The latents' files hold no attribute [1, 17, 1, 1]: it belongs to StyleFlow.")
    unknown = [key for key in _FFHQ_UV_FIELDS[:3] if all(entry[key] is None for entry in meta.values())]
    if unknown:
        remarks.append(f"The dataset has no attributes {', '.join(unknown)}: they are null in meta-info.json.")
    return remarks


def _folder(faces: Faces, out: Path, members: Collection[str]) -> list[str]:
    """Files named as those of ``ostec complete``, with the key as NAME; KEY.json is the last one of each face."""
    for row, found in faces:
        names = {ending: file_name(row["key"], ending) for ending in found}
        record = found.pop(RECORD, None)
        for ending, data in found.items():
            path = out / names[ending]
            if path.parent != out:
                make_folder(path.parent)
            write_atomic(path, renamed(ending, data, functools.partial(_file_of, row["key"])))
        if record is not None:
            write_atomic(out / names[RECORD], _record(row, record, sorted(names.values())))
    if not members or {TEXTURE, MESH, RECORD} <= set(members):
        return []
    if RECORD not in members:
        return ["Without json, nothing tells the programs here which files are whose."]
    return ["ostec transfer needs uv.png and mesh.npz too."]


def _file_of(key: str, name: str) -> str:
    """The file that a member KEY.head.mtl becomes."""
    return file_name(key, name.removeprefix(f"{key}.")) if name.startswith(f"{key}.") else name


def _record(row: Row, data: bytes, files: list[str]) -> bytes:
    """KEY.json as a record of ``ostec complete``, with what the dataset knows besides."""
    try:
        record = json.loads(data)
        faces = {"count": int(record["faces"]), "index": row["face"]}
        return record_bytes({**record, "kind": RESULT, "files": files, "licence": row["licence"], "faces": faces})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AssetError(f"The record of {row['key']} is damaged ({error}).") from error


def _webdataset(faces: Faces, out: Path) -> None:
    """``000000.tar``, ... without gaps, so that ``{000000..000041}.tar`` names them all."""
    for number, (_, own) in enumerate(itertools.groupby(faces, lambda face: face[0]["shard"])):

        def write(stream: BinaryIO, own: Faces = own) -> None:
            for row, found in own:
                stream.write(pack_members((f"{row['key']}.{ending}", data) for ending, data in found.items()))
            stream.write(TRAILER)

        write_atomic(out / f"{number:06d}.tar", write)


def _tables(faces: Faces, out: Path, form: Format) -> list[str]:
    """``data/train-00000-of-00042.parquet``, or ``data-00000-of-00042.arrow``, ...: files of a few tables; their names.

    ``load_dataset(FOLDER)`` reads the former, and with :func:`_state`, ``load_from_disk(FOLDER)`` the latter.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, parts, is_parquet = _schema(), list[Path](), form == "parquet"
    folder, name = (make_folder(out / "data"), "train-{}.parquet") if is_parquet else (out, "data-{}.arrow")
    groups = iter(lambda: list(itertools.islice(faces, _ROWS_PER_GROUP)), [])
    for first in groups:
        path = folder / f"{len(parts):05d}.part"
        parts.append(path)
        writer: Any = (
            pq.ParquetWriter(path, schema, compression="none") if is_parquet else pa.ipc.new_stream(str(path), schema)
        )
        with writer:
            for group in itertools.chain([first], itertools.islice(groups, _GROUPS_PER_FILE - 1)):
                writer.write_table(_table(group))
    names = [name.format(f"{number:05d}-of-{len(parts):05d}") for number in range(len(parts))]
    for part, final in zip(parts, names, strict=True):
        part.rename(folder / final)
    return names


def _state(out: Path, names: Sequence[str], licences: str) -> None:
    """What ``load_from_disk`` asks for besides the tables."""
    digest = hashlib.sha256(repr([(name, (out / name).stat().st_size) for name in names]).encode()).hexdigest()
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": digest[:16],
        **dict.fromkeys(("_format_columns", "_format_type")),
        "_format_kwargs": {},
        "_output_all_columns": False,
        "_split": "train",
    }
    about = "Face textures, exported by ostec dataset export; README.md tells more."
    information = {"description": about, "features": _features(), "license": licences, "citation": "", "homepage": ""}
    write_json(out / "state.json", state, indent=2, sort_keys=True)
    write_json(out / "dataset_info.json", information, indent=2, sort_keys=True)


def _table(faces: list[tuple[Row, dict[str, bytes]]]) -> Any:
    import pyarrow as pa

    rows = []
    for row, found in faces:
        own = {name: found.get(ending) for name, ending in _PICTURES.items()}
        pictures = {n: data and {"bytes": data, "path": f"{row['key']}.{_PICTURES[n]}"} for n, data in own.items()}
        try:
            record = found[RECORD].decode("utf-8") if RECORD in found else None
        except ValueError as error:
            raise AssetError(f"The record of {row['key']} is damaged ({error}).") from error
        rows.append({**row, **pictures, "record": record})
    return pa.Table.from_pylist(rows, schema=_schema())


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    fields = [*(pa.field(name, picture) for name in _PICTURES), pa.field("record", pa.string()), *schema_of(_VALUES)]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": _features()}})})


def _features() -> Mapping[str, Any]:
    """The columns in the words of ``datasets``."""
    values = {name: {"dtype": kind, "_type": "Value"} for name, kind in {"record": "string", **_VALUES}.items()}
    lists = {name: [{"dtype": "string", "_type": "Value"}] for name, kind in _VALUES.items() if kind == "list"}
    return {**{name: {"_type": "Image"} for name in _PICTURES}, **values, **lists}
