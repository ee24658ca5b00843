"""What a folder of results says about itself: which files are results, which photos are done.

NAME.json means done. Before a photo's files are written, a hidden marker ``.NAME.ostec-pending`` is put beside them and
taken away afterwards: where a run was killed in between, the next one knows the files without a NAME.json for what they
are, rather than for photos.
"""

import contextlib
import errno
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ostec.core.errors import OutputError
from ostec.core.plain import read_json
from ostec.core.record import RESULT, RESULT_KINDS, RunRecord, safe_name
from ostec.core.settings import MAX_SAMPLES
from ostec.export import record as record_file
from ostec.io.files import write_atomic

HEAD_ENDINGS = tuple(
    f"_head{ending}"
    for ending in (".glb", ".obj", ".mtl", "_face.png", "_head.png", "_mouth.png", "_eye_left.png", "_eye_right.png")
)
"""What follows NAME in the names of a full head's files."""
MATERIAL_ENDINGS = ("_albedo.png", "_normal.png", "_normal_directx.png", "_orm.png", "_specular.png")
"""The same of the maps of a face's material."""
SAMPLE_ENDINGS = (
    "_uncertainty.png",
    "_samples.html",
    *(f"_sample_{number}.png" for number in range(1, MAX_SAMPLES + 1)),
)
"""The same of several completions."""
STAGE_ENDINGS = (
    *(f"_stage{k}{ending}" for k in (1, 2, 3) for ending in (".png", "_uv.png")),
    *(f"_stage{k}_{kind}{ending}" for k in (1, 2, 3) for kind in ("id", "exp") for ending in (".obj", ".mtl")),
    "_stages.npz",
)
"""The same of the stages that a fit has in addition."""
RESULT_ENDINGS = (
    *(".png", ".obj", ".mtl", ".glb", "_frontal.png", "_provenance.png", ".json", ".npz", ".html", "_turntable.webp"),
    "_thumbnail.webp",
    *MATERIAL_ENDINGS,
    *SAMPLE_ENDINGS,
    *HEAD_ENDINGS,
)
"""What follows NAME in the names of a result's files."""
EARLIER_TURNTABLE = "_turntable.gif"
"""The same for what earlier versions wrote in place of ``_turntable.webp``."""
INVERSION_ENDINGS = (".png", "_target.png", "_trust.png", ".npz", ".json")
"""The same for a photo that was projected into the generator."""
VIEWS_ENDING = "_views"
"""What follows NAME in the name of the folder of a result's projected views."""
RUN_FILES = ("index.html", "run.jsonl", "failures.jsonl")
PENDING = ".{name}.ostec-pending"


def read_record(path: Path, kinds: Collection[str] = (RESULT,)) -> RunRecord | None:
    """A result's record; None if there is none, it is damaged (a power cut can empty a file) or something else."""
    record = record_file.read_record(path, kinds)
    return record if record is not None and "files" in record else None


def is_foreign(path: Path, kinds: Collection[str] = (RESULT,)) -> bool:
    """Whether a file called NAME.json is whole and yet no record, so that somebody else must have put it there."""
    if read_record(path, kinds) is not None:
        return False
    try:
        read_json(path)
    except ValueError:
        return False
    except OSError as error:
        return error.errno == errno.EFBIG
    return True


def listed_files(folder: Path) -> set[str]:
    """Names of the files in a folder that are results: those that a NAME.json lists, and those of a killed run.

    In a folder of projected views that a NAME.json beside it knows, all files are.
    """
    if folder.name.endswith(VIEWS_ENDING) and folder.name in view_folders(folder.parent):
        return {path.name for path in folder.iterdir()}
    markers = [*folder.glob(PENDING.format(name="*"))]  # before the records: another process may be writing them
    records = (read_record(path, RESULT_KINDS) for path in folder.glob("*.json"))
    files = {name for record in records if record is not None for name in record["files"]}
    for marker in markers:
        endings = (*RESULT_ENDINGS, *STAGE_ENDINGS, EARLIER_TURNTABLE, *INVERSION_ENDINGS)
        named = [name + ending for name in _pending_names(marker) for ending in endings]
        files.update(named, map(safe_name, named))
    return files


def view_folders(folder: Path) -> set[str]:
    """Names of the folders in a folder of results that hold projected views, of whole results and of a killed run."""
    stems = {path.stem for path in folder.glob("*.json") if read_record(path) is not None}
    for marker in folder.glob(PENDING.format(name="*")):
        stems.update(_pending_names(marker))
    return {stem + VIEWS_ENDING for stem in stems}


@contextlib.contextmanager
def pending(save_dir: Path, photo_name: str, names: Sequence[str]) -> Iterator[None]:
    """Mark the results ``names`` of a photo as being written; where that fails the mark stays. Raises OutputError."""
    marker = save_dir / PENDING.format(name=photo_name)
    write_atomic(marker, json.dumps({"names": list(names)}).encode())
    yield
    marker.unlink(missing_ok=True)


def remove_stale_marks(save_dir: Path) -> None:
    """Remove the marks of results that are whole: their run was killed between the last file and the mark."""
    for marker in save_dir.glob(PENDING.format(name="*")):
        records = [read_record(save_dir / f"{name}.json", RESULT_KINDS) for name in _pending_names(marker)]
        if all(is_whole(save_dir, record) for record in records):
            marker.unlink(missing_ok=True)


def _pending_names(marker: Path) -> list[str]:
    try:
        names = read_json(marker)["names"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def remove_files(save_dir: Path, files: Sequence[str]) -> None:
    """Remove files of an older result, as far as they are there. Raises OutputError: one cannot be removed.

    An older record goes before any file is replaced: it must not vouch for a mixture of old and new, should the run be
    killed in between.
    """
    try:
        for file in files:
            (save_dir / file).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{files[0]} cannot be replaced ({error.strerror or error}).") from error


def is_whole(save_dir: Path, record: RunRecord | None) -> bool:
    """Whether there is a record and every file that it lists."""
    return record is not None and all((save_dir / name).is_file() for name in record["files"])


def face_name(name: str, number: int) -> str:
    """What the results of one face are called where all faces of a photo are asked for; counted from 1."""
    return f"{name}_face{number}"


def faces_of(record: RunRecord) -> int:
    """How many faces of its photo were completed together with this one."""
    return max(1, record.get("faces", {}).get("count", 1))
