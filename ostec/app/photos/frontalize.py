"""``ostec frontalize``: frontal portraits of photos, the masks of what is guessed in them, and a table."""

import csv
import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional

from ostec.app.options import Flat, OutFolder, option
from ostec.app.photos.options import RunOptions
from ostec.app.photos.runner import Action, Run, Step, seconds_since
from ostec.app.photos.sources import Photo
from ostec.core.settings import Device

logger = logging.getLogger(__name__)

ENDINGS = ("_frontal.png", "_guess.png")
TABLE = "frontalize.csv"
COLUMNS = (
    *("name", "file", "sha256", "size", "align", "pitch_deg", "yaw_deg", "roll_deg", "confidence", "guessed", "way"),
    "reason",
)


@dataclass(frozen=True)
class FrontalizeOptions(RunOptions):
    """How a run goes about it."""

    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""


@dataclass(frozen=True)
class Frontalize:
    """Turn the largest face in each photo to the front: NAME_frontal.png, with hair and background.

    NAME_guess.png is white where the picture is not the photo's; frontalize.csv has a row for each photo: pose,
    confidence, the share that is guessed, or why there is no picture. What is done already is skipped.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    size: Literal[112, 224, 256, 512] = 512
    """Side of the pictures in pixels."""
    align: Literal["ffhq", "arcface"] = "ffhq"
    """Where eyes and mouth lie: as in FFHQ, with all of the head, or as in ArcFace's pictures, with the face alone."""
    running: Flat[FrontalizeOptions] = field(default_factory=FrontalizeOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.checks import need_sources
        from ostec.app.photos.batch import prepared
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.app.photos.sources import assign_names, find_photos, refuse_replacing
        from ostec.core.errors import UsageError

        self.running.begin()
        need_sources(self.source, self.save_dir, "frontalize")
        folder = Path(self.save_dir)
        found = [path for path in find_photos(self.source) if path.resolve().parent != folder.resolve()]
        if not found:
            raise UsageError("No photo was found apart from what lies in --save-dir.")
        photos = assign_names(found, ENDINGS)
        run = FrontalizeRun(folder, self.size, self.align, self.running)
        if self.running.dry_run:
            return run.describe(photos)
        if not run.rows:
            refuse_replacing(photos, folder, "largest", self.running.overwrite, ENDINGS)
        with prepared(folder), terminate_like_interrupt():
            return run.run(photos)


class FrontalizeRun(Run[Photo]):
    """Turns photos to the front."""

    def __init__(self, folder: Path, size: int, align: str, options: FrontalizeOptions) -> None:
        super().__init__(folder, options)
        self._size, self._align, self._device = size, align, options.device
        self.rows = read_rows(folder / TABLE)
        """Of the table, by name."""
        self._written = 0.0

    def decide(self, item: Photo) -> Step[Photo]:
        """What is to be done with a photo. Raises AssetError: it cannot be read."""
        row, digest = self.rows.get(item.name), item.sha256
        there = all((self.folder / f"{item.name}{ending}").is_file() for ending in ENDINGS)
        if self.options.overwrite or row is None or row["reason"] or not there:
            return Step(item, Action.MAKE)
        if row["sha256"] != digest:
            reason = f"{item.name}{ENDINGS[0]} belongs to another photo, or this one has been edited since"
            return Step(item, Action.REFUSE, reason=f"{reason}; redo it with --overwrite, or choose another --save-dir")
        made = f"size {row['size']}, align {row['align']}"
        differs = "" if made == f"size {self._size}, align {self._align}" else f"settings ({made})"
        return Step(item, Action.SKIP, (item.name,), differs=differs)

    def load(self) -> None:
        """Load the networks."""
        from ostec.app.console import told_if_it_takes_long

        with told_if_it_takes_long("Loading models ..."):
            from ostec.pipeline.frontalizer import Frontalizer  # torch and the networks: not before there is work

            self._frontalizer = Frontalizer.from_pretrained(self._size, self._align, self._device)

    def make(self, steps: Sequence[Step[Photo]]) -> Sequence[Any]:
        """Turn one photo."""
        (step,) = steps
        self._begun = time.perf_counter()
        return [self._frontalizer(step.item.path, self.on_progress)]

    def save(self, step: Step[Photo], made: Any) -> str:
        """Write picture and mask; the table says that they are there."""
        from ostec.io.images import write_png

        name, portrait = step.item.name, made.portrait
        self.rows.pop(name, None)
        write_png(self.folder / f"{name}{ENDINGS[0]}", portrait.picture)
        write_png(self.folder / f"{name}{ENDINGS[1]}", portrait.guess[..., None].repeat(3, axis=2))
        pitch, yaw, roll = (f"{angle:.2f}" for angle in made.face.pose_deg)
        values = (made.source["source_sha256"], self._size, self._align, pitch, yaw, roll, f"{made.confidence:.4f}")
        row = (name, step.item.path, *values, portrait.record["guessed"], portrait.way, "")
        self._note(row)
        for sentence in made.warnings:
            logger.warning("%s", sentence)
        return seconds_since(self._begun)

    def note_failure(self, item: Photo, reason: str) -> None:
        """Note in the table why there is no picture, unless there is an older one."""
        if item.name not in self.rows or self.rows[item.name]["reason"]:
            self._note((item.name, item.path, *[""] * (len(COLUMNS) - 3), reason))

    def _note(self, row: Sequence[object]) -> None:
        self.rows[str(row[0])] = dict(zip(COLUMNS, map(str, row), strict=True))
        if time.monotonic() - self._written > _MIN_INTERVAL_S:
            self._write()

    def end(self) -> None:
        """Write the table."""
        self._write()

    def _write(self) -> None:
        from ostec.io.files import write_atomic

        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows[name] for name in sorted(self.rows))
        write_atomic(self.folder / TABLE, text.getvalue().encode("utf-8", "surrogateescape"))
        self._written = time.monotonic()

    def where(self) -> str:
        """The table."""
        from ostec.app.console import shown

        return f"poses, and reasons where there is no picture, are in {shown(self.folder / TABLE)}"


_MIN_INTERVAL_S = 2.0
"""Between two rewritings of the table, which would otherwise cost a square of the number of photos."""
_MAX_TABLE_BYTES = 256 << 20


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    """The rows of an earlier run's table by name; none where there is no such table."""
    from ostec.core.plain import read_plain

    try:
        text = read_plain(path, _MAX_TABLE_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return {}
    rows = csv.DictReader(io.StringIO(text))
    try:
        if tuple(rows.fieldnames or ()) != COLUMNS:
            return {}
        return {row["name"]: row for row in rows if None not in row and None not in row.values()}
    except csv.Error:  # a cell of more than 128 kB
        return {}
