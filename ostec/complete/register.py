"""One picture's texels laid over another's: what landmarks leave is taken out by a small smooth flow in UV."""

import numpy as np

from ostec.core.types import FloatArray
from ostec.stitch.blend import low_pass

MOST = 6 / 1024
"""Longest shift in UV: landmarks err by less, and a longer one is a mistake."""
REACH = 12 / 512
"""Deviation in UV of the smoothing: skin moves with its neighbours."""
LOCAL = 12 / 512
"""Deviation in UV of the window in which brightness and contrast are evened out."""
AGREE = 1.5
"""Texels by which the flow there and back may miss before it is not believed."""


def small_flow(reference: FloatArray, other: FloatArray, shared: FloatArray) -> FloatArray:
    """Where each texel of ``reference`` lies in ``other``: shifts [S, S, 2] (x, y) in texels, zero where unknown.

    Args:
        reference: [S, S, 3] in [0, 1].
        other: the same.
        shared: [S, S] in [0, 1]: how well both show a texel.
    """
    import cv2

    size = len(shared)
    first, second = (_evened(one, shared) for one in (reference, other))
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = solver.calc(first, second, None), solver.calc(second, first, None)
    miss = np.linalg.norm(there + shifted(back, there), axis=-1)
    detail = low_pass((first[..., None].astype(np.float32) - 128) ** 2, shared, LOCAL * size / 2)[..., 0]
    sure = shared / (1 + (miss / AGREE) ** 2) ** 2 * detail / (detail + 200)
    sure = sure * (np.linalg.norm(there, axis=-1) < 2 * MOST * size)
    near = cv2.GaussianBlur(sure.astype(np.float32), (0, 0), REACH * size)
    flow = low_pass(there, sure.astype(np.float32), REACH * size) * (near / (near + 0.02))[..., None]
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    return (flow * (MOST * size / np.maximum(length, MOST * size))).astype(np.float32)


def shifted(image: FloatArray, flow: FloatArray) -> FloatArray:
    """``image`` [S, S, ...] read at each texel plus its shift [S, S, 2]; zero beyond the border."""
    import cv2

    rows, columns = np.indices(flow.shape[:2], np.float32)
    return np.asarray(cv2.remap(image, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR), np.float32)


def _evened(image: FloatArray, shared: FloatArray) -> np.ndarray:
    """[S, S] of 8 bits: the logarithm of the brightness, its local mean at 128 and its local contrast alike."""
    size, seen = len(shared), (shared > 0).astype(np.float32)
    log = np.log(image.mean(-1, keepdims=True) + 0.02)
    log = (log - low_pass(log, seen, LOCAL * size)) * seen[..., None]
    spread = np.sqrt(low_pass(log**2, seen, 2 * LOCAL * size)) + 0.03
    return np.clip(128 + 50 * (log / spread)[..., 0] * np.clip(2 * shared, 0, 1), 0, 255).astype(np.uint8)
