"""Animations. The only module that knows imageio."""

from collections.abc import Sequence

import numpy as np

from ostec.core.types import FloatArray
from ostec.io.images import check_rgb, to_bytes

_QUALITY = 80  # a turntable of 32 frames takes 0.16 MB; a GIF of 255 colours takes 0.96 MB


def encode_webp(frames: Sequence[FloatArray] | FloatArray, fps: float) -> bytes:
    """Encode [N, H, W, 3] in [0, 1] as an endless, lossy WebP animation; equal frames give equal bytes.

    Raises ValueError if there is no frame, or one is no picture.
    """
    from imageio import v3

    if len(frames) == 0:
        raise ValueError("expected at least one frame, got none")
    for frame in frames:
        check_rgb(frame)
    pictures = np.stack([to_bytes(frame) for frame in frames])
    duration_ms = round(1000 / fps)
    return v3.imwrite(
        "<bytes>", pictures, plugin="pillow", extension=".webp", quality=_QUALITY, duration=duration_ms, loop=0
    )
