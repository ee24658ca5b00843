"""A hand drawn by formula, its landmarks known: what the tests of hands look at."""

import numpy as np

POINTS = np.array(
    [
        *[(0.0, 0.95)],
        *[(-0.36, 0.72), (-0.62, 0.38), (-0.80, 0.10), (-0.95, -0.14)],
        *[(-0.38, -0.02), (-0.46, -0.48), (-0.50, -0.76), (-0.53, -1.02)],
        *[(-0.12, -0.10), (-0.14, -0.60), (-0.15, -0.92), (-0.16, -1.20)],
        *[(0.13, -0.05), (0.18, -0.52), (0.21, -0.82), (0.23, -1.08)],
        *[(0.36, 0.08), (0.46, -0.28), (0.52, -0.50), (0.57, -0.71)],
    ]
)
"""[21, 2]: an open right hand from behind, fingers up, in lengths of the palm (wrist to knuckles), y down."""
_BONES = [(a, a + 1) for finger in range(5) for a in range(1 + 4 * finger, 4 + 4 * finger)]
_PALM = [(0, k) for k in (1, 5, 9, 13, 17)] + [(5, 9), (9, 13), (13, 17), (1, 5)]


def hand_points(centre: tuple[float, float], size: float, turn_deg: float = 0.0) -> np.ndarray:
    """The landmarks [21, 2] of a hand in a picture: middle of the palm, its length in pixels, clockwise turn."""
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (POINTS - (0, 0.4)) * size @ turn.T + np.array(centre)


def draw_hand(image: np.ndarray, points: np.ndarray, skin: tuple[float, float, float]) -> np.ndarray:
    """Paint a hand with its forearm over a picture [H, W, 3]; every part is lit like a round bar."""
    image = image.copy()
    width = np.linalg.norm(points[5] - points[17])
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    elbow = points[0] + 1.5 * (points[0] - points[9])
    parts = [(points[0], elbow, 0.36)]
    parts += [(points[a], points[b], 0.26) for a, b in _PALM]
    parts += [(points[a], points[b], 0.15) for a, b in _BONES]
    for start, end, radius in parts:
        along = end - start
        t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
        away = np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1]) / (radius * width)
        shade = 0.62 + 0.38 * np.sqrt(np.clip(1 - away**2, 0, 1))
        cover = np.clip((1 - away) * radius * width + 0.5, 0, 1)[..., None]
        image = image * (1 - cover) + np.array(skin) * shade[..., None] * cover
    return image.astype(np.float32)
