"""Options of ``ostec track``."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import Positional

from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.app.photos.options import DeviceOptions
from ostec.pipeline.settings import TrackSettings

Address = Annotated[str | None, option(metavar="HOST:PORT")]


@dataclass(frozen=True)
class TrackOptions:
    """What is tracked, and what becomes of it."""

    source: Annotated[str, Positional, option(metavar="SOURCE", help_behavior_hint="(required)")]
    """A video, a picture, a folder or glob of pictures (in sorted order), or camera:0."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    texture: Annotated[str | None, option(metavar="clip|RESULT")] = None
    """clip: the whole recording's best frames are fused first, as by ostec fuse; RESULT: a result of ostec complete
    (NAME.json) whose head moves; else the best of the first frames is completed."""
    preview: Flag = False
    """Also write a video of the head over the frames."""
    meshes: Literal["none", "obj", "ply"] = "none"
    """Also write the head of each frame as a mesh."""
    live_link: Address = None
    """Also send each frame as Live Link Face does (Unreal listens at port 11111)."""
    vmc: Address = None
    """Also send each frame by the VMC protocol (OSC; most programs listen at port 39539)."""
    settings: Flat[TrackSettings] = field(default_factory=TrackSettings)
    running: Flat[DeviceOptions] = field(default_factory=DeviceOptions)
