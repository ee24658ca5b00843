"""Draw covers on photos of bare faces, complete them, and count what of a cover passes for the face.

    python tools/plant_covers.py PHOTO... --out DIR [--kinds mask_teal scarf ...]

For every photo and kind DIR/NAME_KIND.png is the covered photo and DIR/NAME_KIND_texture.png what was made of it. The
table says, by kind, of how many photos the temples are more than 15 levels from those of the uncovered photo, of how
many more than 1 % of the cover's texels count as photo, and the means; refused photos are counted by themselves.
Unlike the covers that the network was trained with, these are drawn in the photo, along the outline of the face.
"""

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ostec import CompletedFace, Completer
from ostec.core.errors import FaceError
from ostec.core.types import FloatArray, Provenance
from ostec.io.images import read_image, to_bytes
from ostec.render.unwrap import Unwrapper

JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
LIDS = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
"""Landmarks of the upper and the lower lid of either eye."""
COLOURS = {
    "teal": (0.30, 0.66, 0.66),
    "blue": (0.55, 0.72, 0.86),
    "white": (0.93, 0.93, 0.92),
    "black": (0.07, 0.07, 0.08),
    "beige": (0.80, 0.66, 0.54),
    "red": (0.62, 0.10, 0.12),
}
TEMPLE_LEVELS, PHOTO_SHARE = 15, 0.01


class Painter:
    """Draws on one photo, in a frame of its face: x to the image's right, y up the face, the eyes 1 apart."""

    def __init__(self, photo: FloatArray, points: FloatArray, seed: int) -> None:
        self.photo, self.points = photo, points[:, :2].astype(np.float64)
        self.rng = np.random.default_rng(seed)
        eyes = self.points[[33, 133]].mean(0), self.points[[362, 263]].mean(0)
        self.across = eyes[1] - eyes[0]
        self.unit = float(np.linalg.norm(self.across))
        self.up = np.array([self.across[1], -self.across[0]])
        self.middle = (eyes[0] + eyes[1]) / 2

    def at(self, x: float, y: float) -> np.ndarray:
        """A place of the frame in pixels."""
        return np.asarray(self.middle + x * self.across + y * self.up)

    def polygon(self, points: list[np.ndarray] | np.ndarray, soft: float = 0.006) -> FloatArray:
        """Alpha [H, W] of a polygon in pixels."""
        picture = Image.new("L", self.photo.shape[1::-1])
        ImageDraw.Draw(picture).polygon([tuple(map(float, p)) for p in points], fill=255)
        return ndimage.gaussian_filter(np.asarray(picture, np.float32) / 255, max(0.6, soft * self.unit))

    def ellipse(self, x: float, y: float, a: float, b: float) -> FloatArray:
        """Alpha [H, W] of an ellipse."""
        t = np.linspace(0, 2 * np.pi, 60)
        return self.polygon([self.at(x + a * np.cos(k), y + b * np.sin(k)) for k in t])

    def frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Every pixel's x and y in the frame."""
        rows, columns = np.mgrid[: self.photo.shape[0], : self.photo.shape[1]] + 0.5
        way = np.stack([columns, rows], -1) - self.middle
        return way @ self.across / self.unit**2, way @ self.up / self.unit**2

    def paint(self, alpha: FloatArray, colour: np.ndarray | tuple[float, ...], light: float = 0.6) -> FloatArray:
        """The photo with a colour laid over it that keeps ``light`` of the face's own light and shade."""
        grey = ndimage.gaussian_filter(self.photo.mean(-1), 0.25 * self.unit)
        shade = (grey / max(float(np.median(grey[alpha > 0.5])), 0.05)) ** light
        x, _ = self.frame()
        drawn = np.asarray(colour, np.float32) * np.clip(shade * (1.05 - 0.12 * x**2), 0.3, 1.6)[..., None]
        drawn = drawn + self.rng.normal(0, 0.012, self.photo.shape)
        return np.clip(self.photo + (drawn - self.photo) * alpha[..., None], 0, 1).astype(np.float32)

    def masked(self, name: str, low: bool) -> tuple[FloatArray, FloatArray]:
        """A mask over mouth and nose, its upper edge at the bridge or, worn low, under the tip of the nose."""
        jaw = self.points[list(JAW[1:-1] if not low else JAW[2:-2])]
        outer = jaw + 0.06 * (jaw - self.points[4])
        outer[len(outer) // 2 - 3 : len(outer) // 2 + 4] -= 0.10 * self.up
        nose = self.points[[4, 2]].mean(0) if low else self.points[6] * 0.5 + self.points[5] * 0.5
        cheeks = self.points[[50, 280]] if low else self.points[[117, 346]]
        alpha = self.polygon([*outer, cheeks[1], nose + 0.12 * self.across, nose - 0.12 * self.across, cheeks[0]])
        _, y = self.frame()
        pleats = 1 + 0.06 * np.sin(y * 40)[..., None] * (name in ("blue", "teal", "white"))
        return self.paint(alpha, np.asarray(COLOURS[name]) * pleats), alpha

    def scarf(self) -> tuple[FloatArray, FloatArray]:
        """A chequered scarf up to the nose."""
        x, y = self.frame()
        edge = self.points[4] + 0.05 * self.up
        corners = [edge - 1.3 * self.across + 0.1 * self.up, edge, edge + 1.3 * self.across + 0.15 * self.up]
        alpha = self.polygon([*corners, self.at(1.6, -3.2), self.at(-1.6, -3.2)])
        check = np.sign(np.sin(x * 18 + y * 6) * np.sin(y * 18 - x * 6))[..., None]
        return self.paint(alpha, np.array([0.45, 0.12, 0.1]) + 0.25 * np.clip(check, 0, 1)), alpha

    def phone(self) -> tuple[FloatArray, FloatArray]:
        """A dark phone before one cheek and the mouth."""
        corners = [(-0.9, 0.1), (-0.15, 0.25), (0.2, -1.4), (-0.55, -1.55)]
        alpha = self.polygon([self.at(*c) for c in corners])
        _, y = self.frame()
        return self.paint(alpha, np.array([0.1, 0.11, 0.14]) + 0.1 * np.clip(y[..., None] + 0.6, 0, 1), 0.1), alpha

    def microphone(self) -> tuple[FloatArray, FloatArray]:
        """A microphone with foam before mouth and chin."""
        foam = self.ellipse(0.05, -1.2, 0.3, 0.33)
        stick = self.polygon([self.at(-0.08, -1.4), self.at(0.18, -1.4), self.at(0.35, -3), self.at(0.1, -3)])
        x, y = self.frame()
        grain = 0.04 * np.sin(x * 90) * np.sin(y * 90)
        alpha = np.maximum(foam, stick)
        return self.paint(alpha, (0.16 + grain)[..., None] * np.ones(3), 0.2), alpha

    def veil(self) -> tuple[FloatArray, FloatArray]:
        """A thin dark veil from below the eyes."""
        corners = [self.at(-1.3, -0.25), self.at(0, -0.35), self.at(1.3, -0.25), self.at(1.3, -3), self.at(-1.3, -3)]
        alpha = self.polygon(corners)
        return self.paint(0.75 * alpha, (0.12, 0.1, 0.2)), alpha

    def paint_half(self) -> tuple[FloatArray, FloatArray]:
        """Blue paint on one half of the face."""
        outline = self.points[list(JAW[:11])]
        alpha = self.polygon([*outline, self.points[4], self.points[10], self.points[54]]) * 0.9
        return self.paint(alpha, (0.12, 0.2, 0.62), 1.0), alpha

    def sunglasses(self) -> tuple[FloatArray, FloatArray]:
        """Dark round glasses."""
        lenses = np.maximum(self.ellipse(-0.5, -0.03, 0.36, 0.3), self.ellipse(0.5, -0.03, 0.36, 0.3))
        bar = self.polygon([self.at(-1.05, 0.1), self.at(1.05, 0.1), self.at(1.05, 0.04), self.at(-1.05, 0.04)])
        _, y = self.frame()
        alpha = np.maximum(lenses, bar)
        return self.paint(alpha, np.array([0.05, 0.05, 0.06]) + 0.1 * np.clip(y[..., None] + 0.2, 0, 1), 0), alpha

    def bar(self) -> tuple[FloatArray, FloatArray]:
        """A black bar over the eyes."""
        alpha = self.polygon([self.at(-1, 0.2), self.at(1, 0.2), self.at(1, -0.2), self.at(-1, -0.2)], 0)
        return np.where(alpha[..., None] > 0.5, 0, self.photo).astype(np.float32), (alpha > 0.5).astype(np.float32)

    def mosaic(self) -> tuple[FloatArray, FloatArray]:
        """Eyes made of squares."""
        alpha = self.polygon([self.at(-1, 0.25), self.at(1, 0.25), self.at(1, -0.3), self.at(-1, -0.3)], 0) > 0.5
        block = max(3, round(0.16 * self.unit))
        rows, columns = (np.arange(n) // block * block + block // 2 for n in self.photo.shape[:2])
        smooth = ndimage.uniform_filter(self.photo, (block, block, 1))
        squares = smooth[np.minimum(rows, len(rows) - 1)][:, np.minimum(columns, len(columns) - 1)]
        return np.where(alpha[..., None], squares, self.photo).astype(np.float32), alpha.astype(np.float32)

    def lids(self) -> tuple[FloatArray, FloatArray]:
        """Closed eyes: the skin above and below them drawn together, with lashes along the lower lid."""
        drawn, alpha = self.photo.copy(), np.zeros(self.photo.shape[:2], np.float32)
        for upper, lower in LIDS:
            above, below = self.points[list(upper)], self.points[list(lower)]
            opening = self.polygon([*above + 0.02 * self.up, *below[::-1] - 0.01 * self.up], 0.01)
            smooth = ndimage.gaussian_filter(self.photo, (0.03 * self.unit, 0.03 * self.unit, 0))
            _, y = self.frame()
            top, bottom = above.mean(0) + 0.11 * self.up, below.mean(0) - 0.09 * self.up
            colours = [smooth[tuple(np.clip(place[::-1].astype(int), 0, None))] for place in (top, bottom)]
            heights = [float((place - self.middle) @ self.up) / self.unit**2 for place in (top, bottom)]
            share = np.clip((y - heights[1]) / (heights[0] - heights[1]), 0, 1)[..., None]
            lid = colours[1] + (colours[0] - colours[1]) * share + self.rng.normal(0, 0.012, self.photo.shape)
            lashes = self.polygon([*below, *below[::-1] - 0.025 * self.up], 0.006)[..., None]
            lid = lid * (1 - 0.6 * lashes)
            drawn = drawn + (lid - drawn) * opening[..., None]
            alpha = np.maximum(alpha, opening)
        return np.clip(drawn, 0, 1).astype(np.float32), alpha

    def fringe(self) -> tuple[FloatArray, FloatArray]:
        """Dark hair down to the brows, in strands."""
        teeth = []
        for x in np.linspace(-0.95, 0.95, 40):
            teeth += [self.at(x, 0.36 - 0.10 * self.rng.random()), self.at(x + 0.02, 0.5)]
        alpha = self.polygon([self.at(-1.1, 1.9), *teeth, self.at(1.1, 1.9)], 0.003)
        x, y = self.frame()
        strands = np.interp(x + 0.02 * np.sin(6 * y), np.linspace(-1.5, 1.5, 400), self.rng.random(400))
        colour = np.array([0.23, 0.16, 0.11]) * (0.5 + strands)[..., None]
        return self.paint(alpha, colour, 0), alpha

    def kinds(self) -> dict[str, Callable[[], tuple[FloatArray, FloatArray]]]:
        """Name -> what draws it: covered photo [H, W, 3] and cover [H, W] in [0, 1]."""
        masks = {f"mask_{name}": lambda name=name: self.masked(name, False) for name in COLOURS}
        low = {f"low_{name}": lambda name=name: self.masked(name, True) for name in ("white", "beige")}
        others = (self.scarf, self.phone, self.microphone, self.veil, self.paint_half)
        eyes = (self.sunglasses, self.bar, self.mosaic, self.lids, self.fringe)
        return {**masks, **low, **{f.__name__: f for f in (*others, *eyes)}}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", help="of the covers; all by default")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = [path for given in args.photos for path in (sorted(given.iterdir()) if given.is_dir() else [given])]
    completer = Completer.from_pretrained(iterations=0, uv_size=256, face_model="none")
    unwrapper = Unwrapper(completer.models.topology)
    rows: dict[str, list[tuple[float, float] | None]] = {}
    bare_found = 0
    for path in paths:
        photo = read_image(path)
        bare = completer.complete_all(photo)[0]
        bare_found += "cover" in bare.record["occluders"]
        painter = Painter(photo, bare.textured.face.landmarks, zlib.crc32(path.name.encode()))
        for kind, draw in painter.kinds().items():
            if args.kinds and kind not in args.kinds:
                continue
            covered, alpha = draw()
            name = args.out / f"{path.stem}_{kind}"
            Image.fromarray(to_bytes(covered)).save(f"{name}.png")
            results = rows.setdefault(kind, [])
            try:
                made = completer.complete_all(covered)[0]
            except FaceError as error:
                print(f"{path.name} {kind}: refused: {error}")
                results.append(None)
                continue
            Image.fromarray(to_bytes(made.textured.completed.colour)).save(f"{name}_texture.png")
            levels, share = judge(made, bare, alpha, unwrapper)
            results.append((levels, share))
            if levels > TEMPLE_LEVELS or share > PHOTO_SHARE:
                print(f"{path.name} {kind}: temple {levels:.0f} levels, {100 * share:.1f} % as photo")
    print(f"{len(paths)} photos; a cover was found on {bare_found} of them as they are")
    print(f"{'kind':14s} {'photos':>6s} {'refused':>7s} {'temple > 15':>11s} {'> 1 % photo':>11s}   means: levels, %")
    for kind, results in rows.items():
        done = np.array([r for r in results if r is not None]).reshape(-1, 2)
        bad = (done[:, 0] > TEMPLE_LEVELS).sum(), (done[:, 1] > PHOTO_SHARE).sum()
        means = done.mean(0) if len(done) else (0, 0)
        refused = len(results) - len(done)
        counts = f"{kind:14s} {len(results):6d} {refused:7d} {bad[0]:11d} {bad[1]:11d}"
        print(f"{counts}   {means[0]:5.1f} {100 * means[1]:5.2f}")


def judge(made: CompletedFace, bare: CompletedFace, alpha: FloatArray, unwrapper: Unwrapper) -> tuple[float, float]:
    """Levels between the temples with and without the cover, and the cover's share of texels that count as photo."""
    size = len(made.textured.completed.colour)
    v = 1 - (np.arange(size) + 0.5) / size
    u = (np.arange(size) + 0.5) / size
    levels = 0.0
    for middle in (0.14, 0.86):
        temple = (abs(u[None] - middle) < 0.03) & (abs(v[:, None] - 0.76) < 0.04)
        colours = [np.median(f.textured.completed.colour[temple], axis=0) for f in (made, bare)]
        levels = max(levels, 255 * float(abs(colours[0] - colours[1]).mean()))
    seen = unwrapper.unwrap(np.repeat(alpha[..., None], 3, -1).astype(np.float32), made.textured.face, size)
    covered = (seen.colour[..., 0] > 0.5) & seen.visible
    photo = made.textured.completed.provenance == Provenance.PHOTO
    return levels, float((covered & photo).sum() / max(covered.sum(), 1))


if __name__ == "__main__":
    main()
