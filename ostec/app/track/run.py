"""One recording tracked: from a source to its files."""

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ostec.app.checks import need_file
from ostec.app.console import Display, say, shown, told_if_it_takes_long
from ostec.app.photos.results import read_record
from ostec.app.photos.runner import Ending, terminate_like_interrupt
from ostec.app.photos.sources import clean_name
from ostec.app.track.senders import LiveLinkSender, Sender, VmcSender
from ostec.core.errors import FaceError, ImageError, UsageError
from ostec.core.record import TRACK, RunRecord
from ostec.io.files import make_folder
from ostec.io.images import read_image, to_bytes
from ostec.io.photos import expand, is_photo, walk_photos
from ostec.io.video import Frame, Video, is_video_file

if TYPE_CHECKING:
    from ostec.app.track.options import TrackOptions
    from ostec.pipeline.tracking import Person, Tracker

logger = logging.getLogger(__name__)

MAX_SIDE = 1920
"""Longer frames are shrunk to this side."""
PREVIEW_SHARE = 0.5
"""Of the work, where a preview is drawn."""
PICTURES_FPS = 30.0
"""Rate that pictures count as."""
CLIP = "clip"
"""``--texture`` of the recording's own best frames."""
FUSED = 24
"""Pictures that are fused at most."""
_CAMERA = re.compile(r"camera:(\d{1,3})")


@dataclass(frozen=True)
class Source:
    """What is tracked."""

    name: str
    """Stem of the results."""
    label: str
    video: Path | None = None
    camera: int | None = None
    pictures: tuple[Path, ...] = ()

    def open(self) -> "Video | Pictures":
        """Its frames, once. Raises ImageError: it cannot be read."""
        if self.pictures:
            return Pictures(self.pictures)
        if self.camera is not None:
            return Video(self.camera, MAX_SIDE)
        return Video(self.video or Path(), MAX_SIDE)

    def best(self) -> list[Path]:
        """What its texture may be fused of: the video, or pictures evenly chosen."""
        return [self.video] if self.video is not None else [*self.pictures[:: len(self.pictures) // FUSED + 1]]


class Pictures:
    """Pictures as frames; those that cannot be read are grey."""

    live = False
    fps = PICTURES_FPS

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths, self.declared = paths, len(paths)

    def __iter__(self) -> Iterator[Frame]:
        """One after the other."""
        for k, path in enumerate(self._paths):
            try:
                image = to_bytes(read_image(path, whole_megapixels=4.0))
            except ImageError as error:
                logger.warning("%s", error)
                image = np.full((64, 64, 3), 128, np.uint8)
            yield Frame(k, k / PICTURES_FPS, image)


def find_source(given: str) -> Source:
    """What a source means. Raises UsageError for what is none."""
    camera = _CAMERA.fullmatch(given)
    if camera:
        return Source(f"camera{camera[1]}", given, camera=int(camera[1]))
    found = expand(given)
    if len(found) == 1 and found[0].is_file() and is_video_file(found[0]):
        return Source(clean_name(found[0].stem), shown(found[0].name), video=found[0])
    files = [file for path in found for file in (walk_photos(path) if path.is_dir() else [path])]
    pictures = tuple(sorted(file for file in files if is_photo(file)))
    if not pictures:
        raise UsageError(f"{shown(given)} is neither a video nor a picture, nor a folder with pictures in it.")
    name = clean_name(found[0].stem if found[0].is_file() else found[0].resolve().name)
    return Source(name, shown(given), pictures=pictures)


class TrackRun:
    """Tracks one source."""

    def __init__(self, asked: "TrackOptions") -> None:
        """Check what was asked for. Raises UsageError."""
        if not asked.save_dir:
            raise UsageError("--save-dir is empty.")
        self._asked, self._folder = asked, Path(asked.save_dir)
        self._source = find_source(asked.source)
        if asked.texture == CLIP and self._source.camera is not None:
            raise UsageError("--texture clip is for videos and pictures: a camera's frames are not kept.")
        if asked.texture not in (None, CLIP):
            need_file(asked.texture, "The result")
        if asked.preview and self._source.camera is not None:
            raise UsageError("--preview is for videos and pictures: a camera's frames are not kept.")
        self._targets = self._addresses()
        self._display = Display(1, 1, asked.running.quiet, "recordings")
        self._previewing = PREVIEW_SHARE if asked.preview else 0.0

    def run(self) -> int:
        """Return the exit code: 0, 1 where nothing was seen or the video breaks off, 130 after Ctrl-C."""
        record = self._folder / f"{self._source.name}_track.json"
        if read_record(record, (TRACK,)) is not None and not self._asked.running.overwrite:
            self._say(f"{self._source.label} skipped, for {shown(record)} is there (--overwrite tracks it again)")
            return 0
        if self._asked.running.dry_run:
            self._say(f"{self._source.label} would be tracked into {shown(self._folder)}")
            return 0
        make_folder(self._folder)
        with terminate_like_interrupt() as ending, contextlib.ExitStack() as stack:
            senders = [
                stack.enter_context(contextlib.closing(kind(host, port, self._source.name)))
                for kind, host, port in self._targets
            ]
            return self.track(ending, senders)

    def on_progress(self, stage: str, fraction: float) -> None:
        """A stage has been reached, and so much of all work is done; called for each frame."""
        self._display.stage(stage, fraction)

    def track(self, ending: Ending, senders: Sequence[Sender] = ()) -> int:
        """Track it into the folder, which is there; as :meth:`run`."""
        from ostec.pipeline.tracking import Tracker

        with told_if_it_takes_long("Loading models ..."):
            result = None if self._asked.texture == CLIP else self._asked.texture
            tracker = Tracker.from_pretrained(self._asked.settings, self._asked.running.device, result)
        if self._asked.texture == CLIP:
            with told_if_it_takes_long("Fusing the best frames ..."):
                tracker.take_texture(self._source.best())
        code, count, begun = 0, 0, time.perf_counter()
        frames = self._source.open()
        try:
            with self._display:
                self._display.begin(self._source.label)
                for frame in frames:
                    rows = tracker.feed(frame, frames.live)
                    count += 1
                    if rows and rows[0] is not None:
                        for send in senders:
                            send(rows[0], frames.fps)
                    seen = count / max(frames.declared, count + 1)
                    self.on_progress("track", (1 - self._previewing) * seen)
        except KeyboardInterrupt as interrupt:
            code = getattr(interrupt, "exit_code", ending.exit_code)
        seconds = time.perf_counter() - begun
        tracker.finish()
        if not any(person.rows for person in tracker.people):
            raise (
                FaceError(f"No face was found in {self._source.label}.")
                if count
                else ImageError(f"{self._source.label} has no frame that can be read.")
            )
        short = frames.declared - count
        if not code and short > max(2, frames.declared // 50):
            said = f"The video breaks off after {count} of {frames.declared} frames; what was seen is kept."
            logger.warning("%s", said)
            tracker.people[0].warnings.append(said)
            code = 1
        for person in tracker.people:
            if person.rows:
                self._write(tracker, person)
        seen = sum(row.seen for row in tracker.people[0].rows)
        self._say(
            f"{self._source.label}: {count} frames ({count / seconds:.1f} a second), the face in {seen}; "
            f"the files are in {shown(self._folder)}"
        )
        return code

    def _write(self, tracker: "Tracker", person: "Person") -> None:
        """All files of one person; the record is the last."""
        from ostec.export.track import live_link_csv, track_csv, write_track_npz
        from ostec.io.files import write_atomic
        from ostec.pipeline.motion import write_moving, write_preview
        from ostec.pipeline.tracking import FOCAL

        name = self._source.name if person.number == 1 else f"{self._source.name}_face{person.number}"
        rows = person.rows if self._source.camera is not None else tracker.smoothed(person)
        stem = f"{name}_track"
        write_atomic(self._folder / f"{stem}.csv", track_csv(rows))
        write_atomic(self._folder / f"{name}_livelink.csv", live_link_csv(rows))
        write_track_npz(self._folder / f"{stem}.npz", rows)
        written = [f"{stem}.csv", f"{name}_livelink.csv", f"{stem}.npz"]
        if person.head is None:
            raise ValueError("expected a head that is known")
        written += write_moving(self._folder, stem, person.head, rows, self._asked.meshes)
        if self._asked.preview:
            frames = self._source.open()
            write_preview(self._folder / f"{stem}.webm", self._told(frames), frames.fps, person.head, rows, FOCAL)
            written.append(f"{stem}.webm")
        self._write_record(tracker, person, stem, [*written, f"{stem}.json"])

    def _told(self, frames: "Video | Pictures") -> Iterator[Frame]:
        """Frames that are drawn once more, for the preview."""
        for count, frame in enumerate(frames):
            share = min(count / max(frames.declared, 1), 1.0)
            self.on_progress("preview", 1 - self._previewing * (1 - share))
            yield frame

    def _write_record(self, tracker: "Tracker", person: "Person", stem: str, files: list[str]) -> None:
        from ostec.export.record import write_record

        record: RunRecord = {"source": self._source.label, "files": files, **tracker.record(person)}
        write_record(self._folder, stem, record, TRACK)
        for sentence in record["warnings"]:
            logger.warning("%s", sentence)

    def _say(self, text: str) -> None:
        if not self._asked.running.quiet:
            say(text)

    def _addresses(self) -> list[tuple[type[Sender], str, int]]:
        """Who is sent each row, and where. Raises UsageError: an address is none."""
        found: list[tuple[type[Sender], str, int]] = []
        for option, kind in (("live-link", LiveLinkSender), ("vmc", VmcSender)):
            given = getattr(self._asked, option.replace("-", "_"))
            if given is not None:
                host, _, port = given.rpartition(":")
                if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                    raise UsageError(f"--{option} must be HOST:PORT, got {given!r}.")
                found.append((kind, host, int(port)))
        return found
