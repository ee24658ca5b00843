"""A clip drawn of a rigged head, with what it does in every frame: poses, expressions, gaze, and what comes between."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, DoubleArray, FloatArray
from ostec.heads.moving import MovingHead
from ostec.heads.parts import EYE_JOINTS, Head
from ostec.heads.rig import ARKIT
from ostec.io.video import Frame
from ostec.render.geometry import camera_from_matrix, rotation_from_pose

FPS = 30.0
SIZE = 480, 640
"""Height and width of the frames."""
FOCAL_PX = 0.8 * 640
"""As a tracker that knows no camera assumes."""
PLACE_MM = (0.0, 0.0, -600.0)
STILL = 45
"""First frames, in which the head rests, looks ahead and does not move."""
MIRRORED = ("Left", "Right")


@dataclass(frozen=True)
class Script:
    """What a head does in T frames."""

    pose_deg: DoubleArray
    """[T, 3]: pitch, yaw, roll."""
    expression: DoubleArray
    """[T, 52] of ARKit's shapes."""
    gaze_deg: DoubleArray
    """[T, 2]: pitch and yaw of both eyes against the head."""
    covered: BoolArray
    """[T]: a hand passes before the face."""
    company: BoolArray
    """[T]: a second, smaller face is in the picture."""


def script() -> Script:
    """Ten seconds: rest, yaw to 35 degrees either way, nods and tilts, speech, smile, brows, blinks, looks, a hand."""
    count = 330
    t = np.arange(count)
    pose, gaze, values = np.zeros((count, 3)), np.zeros((count, 2)), np.zeros((count, len(ARKIT)))

    def wave(start: int, stop: int, cycles: float = 1.0) -> DoubleArray:
        """[T]: a sine between two frames, zero elsewhere."""
        inside = (t >= start) & (t < stop)
        return np.where(inside, np.sin(2 * np.pi * cycles * (t - start) / (stop - start)), 0.0)

    def pulse(start: int, stop: int, cycles: float = 1.0) -> DoubleArray:
        """[T]: rises from 0 to 1 and falls, so many times between two frames."""
        inside = (t >= start) & (t < stop)
        return np.where(inside, np.sin(np.pi * cycles * (t - start) / (stop - start)) ** 2, 0.0)

    def show(shape: str, strength: DoubleArray) -> None:
        for side in MIRRORED if f"{shape}Left" in ARKIT else ("",):
            values[:, ARKIT.index(shape + side)] += strength

    pose[:, 1] = 35 * wave(STILL, 120) + 12 * wave(120, count, 3)
    pose[:, 0] = 15 * wave(105, 165) + 5 * wave(165, count, 2)
    pose[:, 2] = 12 * wave(120, 175)
    show("jawOpen", 0.7 * pulse(150, 200, 3))
    show("mouthSmile", 0.8 * pulse(190, 235))
    show("browInnerUp", 0.7 * pulse(215, 245))
    show("eyeBlink", pulse(170, 180) + pulse(225, 235) + pulse(285, 297))
    gaze[:, 1] = 20 * wave(235, 275)
    gaze[:, 0] = 10 * wave(240, 270)
    return Script(pose, values, gaze, (t >= 298) & (t < 316), t >= 200)


@dataclass(frozen=True)
class Disturbance:
    """What a camera does to frames."""

    noise: float = 0.0
    """Deviation in levels of 255."""
    blur_px: float = 0.0
    """Deviation."""


class DrawnClip:
    """A head carrying out a script, as frames; they are drawn once."""

    def __init__(self, head: Head, plan: Script) -> None:
        """Draw. Raises ValueError for a head without a rig."""
        moving = MovingHead(head)
        order = [ARKIT.index(name) if name in ARKIT else None for name in moving.rig.targets]
        ground = np.linspace(0.25, 0.55, SIZE[1], dtype=np.float32)[None, :, None].repeat(SIZE[0], 0).repeat(3, 2)
        self._frames = []
        for k in range(len(plan.pose_deg)):
            values = np.array([0.0 if i is None else plan.expression[k, i] for i in order], np.float32)
            turn = rotation_from_pose(*plan.gaze_deg[k])
            points = moving.shape(values, {joint: turn for joint in EYE_JOINTS if joint in moving.rig.joints.names})
            picture = _over(ground, moving, points, plan.pose_deg[k], np.array(PLACE_MM))
            if plan.company[k]:
                picture = _over(picture, moving, moving.shape(0 * values), np.zeros(3), np.array([330.0, 120, -1100]))
            self._frames.append(_covered(picture) if plan.covered[k] else picture)

    def frames(self, disturbance: Disturbance) -> Iterator[Frame]:
        """The frames as a camera gives them; the noise is seeded."""
        random = np.random.default_rng(0)
        for k, picture in enumerate(self._frames):
            sigma = disturbance.blur_px
            seen = ndimage.gaussian_filter(picture, (sigma, sigma, 0)) if sigma else picture
            levels = seen * 255 + random.normal(0, disturbance.noise, seen.shape)
            yield Frame(k, k / FPS, np.clip(np.round(levels), 0, 255).astype(np.uint8))


def _over(
    ground: FloatArray, head: MovingHead, points: FloatArray, pose_deg: DoubleArray, place: DoubleArray
) -> FloatArray:
    rotation, flip = rotation_from_pose(*pose_deg), np.diag([1.0, -1.0, -1.0])
    inner = np.array([[FOCAL_PX, 0, SIZE[1] / 2], [0, FOCAL_PX, SIZE[0] / 2], [0, 0, 1]])
    camera = camera_from_matrix(inner @ np.hstack([flip @ rotation, (flip @ place)[:, None]]), rotation)
    picture, hit = head.draw(points, camera, SIZE)
    return np.where(hit[..., None], picture, ground).astype(np.float32)


def _covered(picture: FloatArray) -> FloatArray:
    """The picture behind an arm of one colour."""
    hidden = picture.copy()
    hidden[SIZE[0] // 4 :, SIZE[1] // 4 : 3 * SIZE[1] // 4] = (0.55, 0.4, 0.33)
    return hidden
