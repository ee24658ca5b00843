"""The figures of ``ostec eval textures``, of the faces of a dataset."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.app.eval_options import RunOptions
from ostec.core.assets import sha256_of
from ostec.core.errors import OstecError
from ostec.dataset.finished import PROVENANCE, TEXTURE, FacePlace, FinishedDataset, need, read_face
from ostec.io.files import make_folder, write_atomic


@dataclass(frozen=True)
class TextureFigures:
    """What was measured."""

    figures: Mapping[str, Mapping[str, float]]
    """Key -> name -> number."""
    twins: tuple[tuple[str, str], ...]
    """Keys of near-identical textures, the first one first."""
    failures: Mapping[str, str]
    """Key -> why a texture could not be measured."""


@dataclass(frozen=True)
class _FaceTask:
    """Takes a face out of its shard and measures its texture; a task of ``eval.jobs``."""

    places: Mapping[str, FacePlace]
    """By key."""
    out: Path

    def __call__(self, key: str) -> dict[str, Any]:
        from ostec.eval.textures import TextureFile, TextureTask

        place = self.places[key]
        found = read_face(place, {TEXTURE, PROVENANCE})
        with tempfile.TemporaryDirectory(dir=self.out) as scratch:
            path, other = Path(scratch) / f"{key}.png", Path(scratch) / f"{key}_provenance.png"
            write_atomic(path, need(found, TEXTURE, place))
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
    from ostec.app.evaluation import run_shown
    from ostec.eval.textures import TextureFile, TextureTask, evaluation_of, settings_of, texture_jobs, thumbs_folder

    places = {place.key: place for place in map(source.place, source.faces())}
    files = {key: TextureFile(key, Path(key), None) for key in places}
    settings = settings_of("default", None)
    with _folder(work) as out:
        thumbs_folder(out)
        jobs = texture_jobs(
            TextureTask(files, "default", None, out),
            {**settings, "dataset": sha256_of(source.folder / "config.json")},
        )
        outcomes = run_shown(jobs, _FaceTask(places, out), running, "textures")
    evaluation = evaluation_of(list(files.values()), [outcomes[key] for key in files], settings)
    rows = {row.item: row.figures for row in evaluation.rows if row.item in places}
    twins = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    failures = {failure["item"]: failure["reason"] for failure in evaluation.failures}
    return TextureFigures(rows, tuple((one, other) for one, other in twins), failures)


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
