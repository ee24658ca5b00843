"""The figures of ``ostec eval textures``, of the faces of a dataset."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.app.eval.options import RunOptions
from ostec.core.errors import OstecError
from ostec.dataset.finished import FacePlace, FinishedDataset, need, read_face
from ostec.dataset.records import PROVENANCE, TEXTURE
from ostec.io.files import make_folder, write_atomic

FIGURES = ("symmetry", "energy", "spread", "area_photo")
"""Those that limits can be set to."""


@dataclass(frozen=True)
class TextureFigures:
    """What was measured."""

    figures: Mapping[str, Mapping[str, float]]
    """Key -> name -> number."""
    twins: tuple[tuple[str, str], ...]
    """Keys of near-identical textures, the first one first, in the order of the dataset."""
    failures: Mapping[str, str]
    """Key -> why a texture could not be measured."""

    def beside(self, faces: Any) -> Any:
        """Faces with :data:`FIGURES` as columns, and ``twin``: key of the earlier texture that theirs is a copy of."""
        import pyarrow as pa

        keys, twins = faces["key"].to_pylist(), dict[str, str]()
        for first, second in self.twins:  # the first of a pair is decided before it is met
            if first not in twins:
                twins.setdefault(second, first)
        for name in FIGURES:
            faces = faces.append_column(name, pa.array([self.figures.get(k, {}).get(name) for k in keys], "float64"))
        return faces.append_column("twin", pa.array(map(twins.get, keys), "string"))


@dataclass(frozen=True)
class _FaceTask:
    """Takes a face out of its shard and measures its texture; a task of ``eval.jobs``."""

    places: Mapping[str, FacePlace]
    """By stamped key."""
    out: Path

    def __call__(self, key: str) -> dict[str, Any]:
        from ostec.eval.textures.run import TextureFile, TextureTask

        found = read_face(self.places[key], {TEXTURE, PROVENANCE})
        with tempfile.TemporaryDirectory(dir=self.out) as scratch:
            path, other = Path(scratch) / f"{key}.png", Path(scratch) / f"{key}_provenance.png"
            write_atomic(path, need(found, TEXTURE, self.places[key]))
            if PROVENANCE in found:
                write_atomic(other, found[PROVENANCE])
            file = TextureFile(key, path, other if PROVENANCE in found else None)
            return TextureTask({key: file}, "default", None, self.out)(key)


def measure(source: FinishedDataset, work: str, running: RunOptions) -> TextureFigures:
    """Measure all finished faces.

    Args:
        source: the dataset.
        work: folder where the figures are kept, so that a second call need not measure again; empty keeps nothing.
        running: how many processes, and what is shown.

    Raises:
        OstecError: a face cannot be read, or the folder not be written.
    """
    from ostec.app.eval.run import run_shown
    from ostec.eval.textures import run as textures

    places = {_stamped(source, place): place for place in map(source.place, source.faces())}
    keys = {name: place.key for name, place in places.items()}
    files = {name: textures.TextureFile(name, Path(name), None) for name in places}
    settings = textures.settings_of("default", None)
    with _folder(work) as out:
        jobs = textures.texture_jobs(textures.TextureTask(files, "default", None, out), settings)
        outcomes = run_shown(jobs, _FaceTask(places, out), running, "textures")
    evaluation = textures.evaluation_of(list(files.values()), [outcomes[name] for name in files], settings)
    rows = {keys[row.item]: row.figures for row in evaluation.rows if row.item in places}
    twins = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    failures = {keys[failure["item"]]: failure["reason"] for failure in evaluation.failures}
    return TextureFigures(rows, tuple((keys[one], keys[other]) for one, other in twins), failures)


def _stamped(source: FinishedDataset, place: FacePlace) -> str:
    """A face's key, with what tells its bytes from those of another dataset's face of the same key."""
    told = f"{source.checksum(int(place.shard.stem))} {place.start} {place.size}"
    return f"{place.key}-{hashlib.sha256(told.encode('ascii')).hexdigest()[:16]}"


@contextlib.contextmanager
def _folder(work: str) -> Iterator[Path]:
    if work:
        yield make_folder(Path(work))
        return
    try:
        with tempfile.TemporaryDirectory(prefix="ostec-figures-") as scratch:
            yield Path(scratch)
    except OSError as error:
        raise OstecError(f"There is no place for the figures ({error.strerror or error}).") from error
