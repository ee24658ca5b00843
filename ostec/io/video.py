"""Videos and cameras, frame by frame, with the time of each. One of the modules that know OpenCV.

OpenCV turns the frames of phones the right way round and knows the true time of each frame where the rate varies. The
frames are decoded in a thread of their own, a few ahead of who takes them.
"""

import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ostec.core.errors import ImageError, OutputError
from ostec.core.plain import open_plain
from ostec.core.text import shown
from ostec.core.types import ByteArray

if TYPE_CHECKING:
    pass

AHEAD = 4
"""Frames that are decoded before they are asked for."""
MAX_SIDE = 8192
"""Longest side of a frame that is decoded: as large as cameras make them."""
_BEGINNINGS = (
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x30\x26\xb2\x75"),  # ASF, WMV
    (0, b"FLV\x01"),
    (0, b"OggS"),
    (0, b"G"),  # MPEG transport stream, if it is there again after 188 bytes
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (4, b"free"),
    (8, b"AVI "),
)
"""Where and how the containers begin that are taken: no playlists, which name further files."""


@dataclass(frozen=True)
class Frame:
    """One frame."""

    index: int
    """Counted from 0."""
    time_s: float
    """Since the first frame."""
    image: ByteArray
    """[H, W, 3] RGB."""


def is_video_file(path: Path) -> bool:
    """Whether a file begins as a video does; False where it cannot be read."""
    try:
        with open_plain(path) as stream:
            head = stream.read(192)
    except OSError:
        return False
    if head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"crx "):  # pictures in the same container
        return False
    return any(
        head[at : at + len(mark)] == mark and (mark != b"G" or head[188:189] == b"G") for at, mark in _BEGINNINGS
    )


class Video:
    """A video file or a camera; iterate over it once for its frames."""

    def __init__(self, source: Path | int, max_side: int = 0) -> None:
        """Open it.

        Args:
            source: a file, or a camera's number.
            max_side: longer frames are shrunk to this side; 0 leaves them as they are.

        Raises:
            ImageError: there is no such video or camera, it cannot be decoded, or its frames are too large.
        """
        import cv2

        self.live, self._max_side = isinstance(source, int), max_side
        self.name = f"camera {source}" if isinstance(source, int) else shown(source)
        if not isinstance(source, int) and not is_video_file(source):
            raise ImageError(f"{self.name} is no video that can be read.")
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")  # nothing from a network
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        with _quiet():
            self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            raise ImageError(f"{self.name} cannot be opened as a video.")
        width, height = (int(self._capture.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ImageError(f"{self.name} has frames of {width} x {height} pixels; at most {MAX_SIDE} can be read.")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if 0 < rate < 1000 else 30.0
        """Frames a second on average, as the file says."""
        self.declared = 0 if self.live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Number of frames that the file claims; 0 where it says nothing."""
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order: of a file every one, of a camera the newest each time."""
        waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(1 if self.live else AHEAD)
        thread = threading.Thread(target=self._decode, args=(waiting,), daemon=True, name="decoder")
        thread.start()
        try:
            while (frame := waiting.get()) is not None:
                if isinstance(frame, BaseException):
                    raise frame
                yield frame
        finally:
            self._stop.set()
            thread.join()
            self._capture.release()

    def _decode(self, waiting: "queue.Queue[Frame | BaseException | None]") -> None:
        end: BaseException | None = None
        try:
            for frame in self._frames():
                if not self._put(waiting, frame):
                    return
        except BaseException as error:  # noqa: BLE001 - raised where the frames are taken
            end = error
        while not self._stop.is_set() and not self._put(waiting, end):
            pass

    def _put(self, waiting: "queue.Queue[Frame | BaseException | None]", what: Frame | BaseException | None) -> bool:
        """Hand something over; False once nobody takes it."""
        while not self._stop.is_set():
            try:
                waiting.put(what, timeout=0.1)
            except queue.Full:
                if self.live and isinstance(what, Frame):  # the newest counts
                    with suppress(queue.Empty):
                        waiting.get_nowait()
                continue
            return True
        return False

    def _frames(self) -> Iterator[Frame]:
        import time

        import cv2

        index, first, last = 0, 0.0, -1.0
        while not self._stop.is_set():
            read, image = self._capture.read()
            if not read or image is None:
                return
            now = time.monotonic() if self.live else float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            first = now if index == 0 else first
            time_s = now - first
            if index and time_s <= last:  # containers without times
                time_s = last + 1 / self.fps
            side = max(image.shape[:2])
            if self._max_side and side > self._max_side:
                share = self._max_side / side
                image = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            yield Frame(index, time_s, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index, last = index + 1, time_s


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV and FFmpeg write to the process's standard error, whatever their log level; the sentence is ours."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class VideoWriter:
    """Writes a WebM, which browsers play. Nothing is left of it unless :meth:`close` was called.

    It is VP8: OpenCV encodes VP9 at its slowest, five frames a second.
    """

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        """Begin. Raises OutputError where that cannot be."""
        import cv2

        self._path, self._part = path, path.with_name(f".{path.name}.part.webm")
        rate = float(Fraction(fps).limit_denominator(1001))
        with _quiet():
            self._writer: cv2.VideoWriter = cv2.VideoWriter(
                str(self._part), cv2.VideoWriter.fourcc(*"VP80"), rate, (width, height)
            )
        if not self._writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise OutputError(f"{shown(path)} cannot be written as a video.")

    def write(self, image: ByteArray) -> None:
        """Add a frame [H, W, 3] RGB of the size that was said."""
        self._writer.write(np.ascontiguousarray(image[:, :, ::-1]))

    def close(self) -> None:
        """Finish the file under its name."""
        self._writer.release()
        os.replace(self._part, self._path)  # noqa: PTH105

    def drop(self) -> None:
        """Leave nothing; harmless after :meth:`close`."""
        self._writer.release()
        self._part.unlink(missing_ok=True)
