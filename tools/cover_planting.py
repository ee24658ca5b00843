"""Covers of every kind, drawn on unwrapped faces: what ``tools/train_covers.py`` trains with."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.core.assets import asset_path
from ostec.core.types import FloatArray
from ostec.load.topology import read_topology
from ostec.mask.skin import polygon_mask
from ostec.nets.covers import SIZE

PATCH = 48
"""Side of the pieces of hair and clothes that covers are made of."""


class Planter:
    """Draws covers on unwrapped faces."""

    def __init__(self, data: dict[str, np.ndarray], rows: np.ndarray, rng: np.random.Generator) -> None:
        self.data, self.rows, self.rng = data, rows, rng
        self.u, self.v = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, 1 - (np.arange(SIZE) + 0.5) / SIZE)
        regions = read_topology(asset_path("topology/facemesh.npz")).regions
        self.eyes = [polygon_mask(regions[name], SIZE) for name in ("eye_left", "eye_right")]
        self.centres = [regions[name].mean(0) for name in ("eye_left", "eye_right")]
        self.kinds: dict[str, tuple[float, Callable[[FloatArray], tuple[FloatArray, FloatArray]]]] = {
            "mask": (5, self.mask),
            "scarf": (2, self.scarf),
            "blob": (3, self.blob),
            "hand": (1.5, self.hand),
            "fringe": (4, self.fringe),
            "side": (2, self.side),
            "sunglasses": (3, self.sunglasses),
            "bar": (1, self.bar),
            "mosaic": (1.5, self.mosaic),
            "veil": (1, self.veil),
            "paint": (2, self.paint),
            "closed": (1, self.closed),
        }

    def sample(self, kinds: tuple[str, ...] | None = None) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Colour [S, S, 3], visible [S, S], truth [S, S] (1 covered) and weight [S, S] of one planted face.

        Args:
            kinds: what to draw; None draws lots.
        """
        row = int(self.rng.choice(self.rows))
        colour = self.data["colour"][row].astype(np.float32) / 255
        visible = self.data["visible"][row].copy()
        weight = visible * np.clip(self.data["mask"][row].astype(np.float32) / 255 * 1.5 - 0.5, 0, 1)
        truth = np.zeros((SIZE, SIZE), np.float32)
        colour = self._lit(colour)
        if kinds is None:
            shares = np.array([share for share, _ in self.kinds.values()])
            count = int(self.rng.choice([0, 1, 2], p=[0.35, 0.5, 0.15]))
            kinds = tuple(self.rng.choice(list(self.kinds), count, p=shares / shares.sum()))
        for name in kinds:
            drawn, alpha = self.kinds[name][1](colour)
            colour = (colour + (drawn - colour) * alpha[..., None]).astype(np.float32)
            truth = np.maximum(truth, np.clip(alpha * 1.6 - 0.3, 0, 1))
        weight = np.maximum(weight, truth > 0.5) * visible
        weight *= 1 - 0.9 * ((truth > 0.02) & (truth < 0.98))
        colour, visible, truth, weight = self._moved(colour, visible, truth, weight)
        return self._shot(colour) * visible[..., None], visible, truth, weight

    # What does not cover: light, make-up, beards.
    def _lit(self, colour: FloatArray) -> FloatArray:
        rng = self.rng
        if rng.random() < 0.4:  # a shadow, soft or hard
            field = self._field(rng.uniform(0.05, 0.4))
            edge = rng.uniform(0.02, 1)
            colour = colour * (1 - rng.uniform(0.1, 0.75) * np.clip(field / edge, 0, 1))[..., None]
        if rng.random() < 0.3:  # coloured light from a side
            angle = rng.uniform(0, 2 * np.pi)
            ramp = np.clip((self.u - 0.5) * np.cos(angle) + (self.v - 0.5) * np.sin(angle) + 0.5, 0, 1)
            tint = rng.uniform(-0.3, 0.3) + rng.uniform(-0.15, 0.15, 3)
            colour = colour * (1 + ramp[..., None] * tint)
        if rng.random() < 0.2:  # a beard, a shaved chin, a moustache
            where = np.clip((0.42 + 0.08 * self._field(0.2) - self.v) / 0.05, 0, 1)
            if rng.random() < 0.5:
                where = where * np.clip((abs(self.u - 0.5) - 0.1) / 0.05, 0.3, 1)
            dark = rng.uniform(0.1, 0.9) * (0.7 + 0.3 * rng.random((SIZE, SIZE)))
            colour = (colour * (1 - where * dark)[..., None]).astype(np.float32)
        if rng.random() < 0.15:  # rouge, lids, freckles
            field = np.clip(self._field(rng.uniform(0.02, 0.08)), 0, 1) * rng.uniform(0.05, 0.3)
            colour = colour * (1 - field[..., None] * np.array([0.1, 1, 0.8]) * rng.uniform(0, 1, 3))
        if rng.random() < 0.15:  # a highlight
            at = rng.uniform(0.2, 0.8, 2)
            spot = np.exp(-((self.u - at[0]) ** 2 + (self.v - at[1]) ** 2) / rng.uniform(0.02, 0.1) ** 2)
            colour = colour + spot[..., None] * rng.uniform(0.1, 0.7)
        return np.clip(colour, 0, 1).astype(np.float32)

    def _moved(self, *maps: FloatArray) -> list[FloatArray]:
        """Landmarks err: shift, stretch and mirror alike."""
        rng = self.rng
        at = np.stack([self.u, 1 - self.v], -1) * 2 - 1
        at = at * rng.normal(1, 0.02, 2) + rng.normal(0, 0.024, 2)
        at[..., 0] *= rng.choice([-1, 1])
        at += np.stack([self._field(0.15), self._field(0.15)], -1) * rng.uniform(0, 0.02)
        planes = np.concatenate([m.reshape(SIZE, SIZE, -1) for m in maps], -1).astype(np.float32)
        grid = torch.from_numpy(at.astype(np.float32))[None]
        moved = functional.grid_sample(torch.from_numpy(planes).permute(2, 0, 1)[None], grid, align_corners=False)
        made = [moved[0, :3].permute(1, 2, 0).numpy(), *moved[0, 3:].numpy()]
        made[1] = (made[1] > 0.95).astype(np.float32)
        if rng.random() < 0.15:  # a face turned away, or cut by the picture's border
            angle, cut = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.4)
            made[1] *= (self.u - 0.5) * np.cos(angle) + (self.v - 0.5) * np.sin(angle) < cut
        made[3] *= made[1]
        return made

    def _shot(self, colour: FloatArray) -> FloatArray:
        """Camera: blur, exposure, white balance, noise."""
        rng = self.rng
        if rng.random() < 0.5:
            sigma = rng.uniform(0.2, 1.6)
            colour = ndimage.gaussian_filter(colour, (sigma, sigma, 0))
        gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
        colour = np.clip(colour * gain, 0, 1) ** np.exp(rng.normal(0, 0.15))
        return np.clip(colour + rng.normal(0, rng.uniform(0, 0.03), colour.shape), 0, 1).astype(np.float32)

    def _field(self, reach: float) -> FloatArray:
        """Smooth noise of unit deviation, correlated over ``reach`` of the layout."""
        cells = max(2, round(1 / reach) + 2)
        coarse = torch.from_numpy(self.rng.normal(size=(1, 1, cells, cells)).astype(np.float32))
        fine = functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)[0, 0].numpy()
        return (fine / max(float(fine.std()), 1e-3)).astype(np.float32)

    def _colour(self, face: FloatArray) -> np.ndarray:
        """Any colour at all, often black, white, grey, blue; sometimes near this skin's."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return np.full(3, rng.uniform(0.02, 0.98)) + rng.normal(0, 0.02, 3)
        if kind < 0.5:
            skin = np.median(face[(face.sum(-1) > 0.1) & (abs(self.u - 0.5) < 0.3)], axis=0)
            return np.clip(skin * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.06, 3), 0, 1)
        hue, s, v = rng.random(), rng.uniform(0.1, 1), rng.uniform(0.15, 1)
        return v * (1 - s * np.clip(abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1))

    def _cloth(self, face: FloatArray, strands: float | None = None) -> FloatArray:
        """A picture [S, S, 3] of some stuff: plain, striped, patterned or a piece of a photo, with folds and light."""
        rng, kind = self.rng, self.rng.random()
        base = np.broadcast_to(self._colour(face), (SIZE, SIZE, 3)).copy()
        if kind < 0.35 or strands is not None:
            row = int(rng.choice(self.rows))
            piece = self.data["cloth" if strands is None and rng.random() < 0.6 else "hair"][row]
            if strands is not None and rng.random() < 0.4:
                piece = np.broadcast_to(self._colour(face) * 255, piece.shape)
            zoom = rng.uniform(1, 4)
            grid = np.stack([self.v, self.u]) * PATCH * zoom + rng.uniform(0, PATCH, (2, 1, 1))
            turned = rng.uniform(0, 2 * np.pi)
            grid = np.stack(
                [
                    grid[0] * np.cos(turned) - grid[1] * np.sin(turned),
                    grid[0] * np.sin(turned) + grid[1] * np.cos(turned),
                ]
            )
            base = np.stack(
                [ndimage.map_coordinates(piece[..., c] / 255.0, grid, order=1, mode="mirror") for c in range(3)], -1
            )
        elif kind < 0.6:
            other = self._colour(face)
            angle, waves = rng.uniform(0, 2 * np.pi), rng.uniform(4, 40)
            wave = np.sin((self.u * np.cos(angle) + self.v * np.sin(angle)) * 2 * np.pi * waves + rng.uniform(0, 6))
            if rng.random() < 0.3:
                wave = wave * np.sin((self.u * np.sin(angle) - self.v * np.cos(angle)) * 2 * np.pi * waves)
            share = np.clip(wave * rng.uniform(0.6, 4), -1, 1)[..., None] * rng.uniform(0.03, 0.5)
            base = base + (other - base) * (share + 0.5 * (rng.random() < 0.3))
        light = np.ones((SIZE, SIZE), np.float32)
        if rng.random() < 0.7:  # the light on the face itself
            grey = ndimage.gaussian_filter(face.mean(-1), SIZE * 0.12)
            light = light * (grey / max(float(np.median(grey)), 0.05)) ** rng.uniform(0, 1)
        light = light * np.exp(self._field(rng.uniform(0.08, 0.5)) * rng.uniform(0, 0.2))
        if rng.random() < 0.4:
            light = light * (1 - 0.4 * abs(self.u - 0.5) ** 2 * 4 * rng.random())
        base = base * light[..., None]
        return np.clip(base + rng.normal(0, rng.uniform(0, 0.05), base.shape), 0, 1).astype(np.float32)

    def _soft(self, depth: np.ndarray) -> FloatArray:
        """Alpha of a shape from its signed depth in UV."""
        return np.clip(depth * SIZE / self.rng.uniform(0.8, 2.5) + 0.5, 0, 1).astype(np.float32)

    # Covers: each gives what is drawn [S, S, 3] and its alpha [S, S].
    def mask(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A mask over mouth and nose, worn high or low."""
        rng = self.rng
        x = abs(self.u - 0.5) * 2
        top = rng.uniform(0.36, 0.68) + rng.uniform(-0.2, 0.12) * x ** rng.uniform(1, 2.5)
        bottom = rng.uniform(-0.3, 0.16) + rng.uniform(-0.1, 0.3) * x**2
        top = top + 0.02 * self._field(0.3) * rng.random() + (self.u - 0.5) * rng.normal(0, 0.05)
        depth = np.minimum(top - self.v, self.v - bottom)
        if rng.random() < 0.3:
            depth = np.minimum(depth, rng.uniform(0.3, 0.5) - abs(self.u - 0.5))
        drawn = self._cloth(face)
        if rng.random() < 0.5:  # pleats
            waves = np.sin((self.v + 0.1 * x**2 * rng.normal()) * 2 * np.pi * rng.uniform(5, 22))
            drawn = (drawn * (1 + rng.uniform(0.02, 0.15) * waves)[..., None]).astype(np.float32)
        if rng.random() < 0.5:  # a seam or the shadow of the upper edge
            drawn = drawn * (1 - rng.uniform(0, 0.4) * np.exp(-((depth * 40) ** 2)))[..., None]
        return np.clip(drawn, 0, 1).astype(np.float32), self._soft(depth)

    def scarf(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Stuff from one side, mostly from below."""
        rng = self.rng
        angle = rng.normal(-np.pi / 2, 0.6) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
        depth = (self.u - 0.5) * np.cos(angle) + (self.v - 0.5) * np.sin(angle) - rng.uniform(-0.15, 0.35)
        return self._cloth(face), self._soft(depth + 0.03 * self._field(rng.uniform(0.1, 0.4)))

    def blob(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A phone, a book, a microphone, fruit."""
        rng = self.rng
        at, size = rng.uniform(0.05, 0.95, 2), np.exp(rng.uniform(np.log(0.05), np.log(0.4), 2))
        angle = rng.uniform(0, np.pi)
        x = (self.u - at[0]) * np.cos(angle) + (self.v - at[1]) * np.sin(angle)
        y = (self.v - at[1]) * np.cos(angle) - (self.u - at[0]) * np.sin(angle)
        if rng.random() < 0.5:  # a phone, a card, a book
            depth = np.minimum(size[0] - abs(x), size[1] * 1.5 - abs(y))
        else:  # a microphone, fruit, balloon; with a stick or not
            depth = size.min() * (1 - np.hypot(x / size[0], y / size[1]))
            if rng.random() < 0.5:
                depth = np.maximum(depth, np.minimum(size[0] * 0.4 - abs(x), y))
        depth = depth + rng.uniform(0, 0.03) * self._field(0.2)
        return self._cloth(face), self._soft(depth)

    def hand(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A hand of the person's own skin."""
        rng = self.rng
        wrist, angle = rng.uniform(-0.1, 1.1, 2), rng.uniform(0, 2 * np.pi)
        wrist = np.array([0.5, 0.4]) + (wrist - 0.5) * 0.9 if rng.random() < 0.8 else wrist
        palm = rng.uniform(0.08, 0.16)
        depth = palm - np.hypot(self.u - wrist[0], (self.v - wrist[1]) * 0.85)
        for finger in np.linspace(-0.6, 0.6, int(rng.integers(2, 6))):
            a = angle + finger + rng.normal(0, 0.08)
            tip = wrist + np.array([np.cos(a), np.sin(a)]) * palm * rng.uniform(2, 3.4)
            way = tip - wrist
            t = np.clip(((self.u - wrist[0]) * way[0] + (self.v - wrist[1]) * way[1]) / (way @ way), 0, 1)
            bar = palm * 0.3 - np.hypot(self.u - wrist[0] - t * way[0], self.v - wrist[1] - t * way[1])
            depth = np.maximum(depth, bar)
        skin = np.median(face[(face.sum(-1) > 0.1) & (abs(self.u - 0.5) < 0.3)], axis=0)
        drawn = np.clip(skin * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.02, 3), 0, 1)
        drawn = (
            drawn
            * np.exp(self._field(0.15) * 0.08)[..., None]
            * (1 - 0.45 * np.exp(-np.clip(depth, 0, 1) * 50))[..., None]
        )
        return np.clip(drawn, 0, 1).astype(np.float32), self._soft(depth)

    def _strands(self, across: np.ndarray, along: np.ndarray) -> FloatArray:
        """Uneven ends and gaps of hair, in units of UV, constant along strands."""
        rng = self.rng
        wave = across + 0.02 * rng.random() * np.sin(along * rng.uniform(5, 25) + rng.uniform(0, 6))
        noise = rng.normal(size=256)
        noise = ndimage.gaussian_filter1d(noise, rng.uniform(0.5, 4), mode="wrap")
        return np.interp((wave * 256) % 256, np.arange(256), noise / noise.std()).astype(np.float32)

    def _hair(self, face: FloatArray, across: np.ndarray, along: np.ndarray) -> FloatArray:
        drawn = self._cloth(face, strands=1.0)
        fine = self._strands(across, along) + 0.7 * self._strands(across * 2.3, along)
        return np.clip(drawn * np.exp(fine * self.rng.uniform(0.03, 0.35))[..., None], 0, 1).astype(np.float32)

    def fringe(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hair from above, in strands."""
        rng = self.rng
        slant, part = rng.normal(0, 0.5), rng.uniform(0.2, 0.8)
        across = self.u + (self.v - 0.8) * slant
        end = rng.uniform(0.66, 0.95) + 0.03 * self._field(0.25)
        if rng.random() < 0.4:  # parted
            end = end + rng.uniform(0.1, 0.5) * np.clip(0.25 - abs(self.u - part), 0, 1)
        strands = self._strands(across, self.v)
        depth = self.v - end + strands * rng.uniform(0.005, 0.05)
        alpha = self._soft(depth) * np.clip(
            1.1 + rng.uniform(0, 0.6) * self._strands(across * 1.7, self.v) + rng.uniform(0, 0.7), 0, 1
        )
        return self._hair(face, across, self.v), alpha.astype(np.float32)

    def side(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hair, or a hood, from one side or both."""
        rng = self.rng
        wave = rng.uniform(0.01, 0.05) * np.sin(self.v * rng.uniform(5, 40) + rng.uniform(0, 6))
        which = rng.random()
        x = abs(self.u - 0.5) if which < 0.4 else (self.u - 0.5) * (1 if which < 0.7 else -1)
        depth = x - rng.uniform(0.18, 0.45) + wave + 0.02 * self._field(0.2) + 0.02 * self._strands(self.u, self.v)
        if rng.random() < 0.4:
            depth = np.minimum(depth, self.v - rng.uniform(0.2, 0.6))
        return self._hair(face, self.u + wave, self.v), self._soft(depth)

    def sunglasses(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Dark, coloured or mirrored glasses with their frame."""
        rng = self.rng
        radii = rng.uniform(0.09, 0.19), rng.uniform(0.06, 0.15)
        power, drop = rng.uniform(1.6, 5), rng.uniform(-0.02, 0.04)
        lens = np.full((SIZE, SIZE), -1.0)
        for centre in self.centres:
            x, y = (self.u - centre[0]) / radii[0], (self.v - centre[1] + drop) / radii[1]
            lens = np.maximum(lens, (1 - (abs(x) ** power + abs(y) ** power) ** (1 / power)) * min(radii))
        bridge = np.minimum(rng.uniform(0.01, 0.03) - abs(self.v - self.centres[0][1] - 0.02), 0.15 - abs(self.u - 0.5))
        arms = np.minimum(rng.uniform(0.01, 0.03) - abs(self.v - self.centres[0][1] - 0.02), abs(self.u - 0.5) - 0.25)
        frame = np.maximum(np.maximum(bridge, arms), lens + rng.uniform(0.005, 0.03))
        tint = self._colour(face) * rng.uniform(0.05, 0.7)
        glass = (
            np.broadcast_to(tint, face.shape)
            * (1 + rng.uniform(-0.8, 0.8) * (self.v - self.centres[0][1]) * 5)[..., None]
        )
        if rng.random() < 0.5:  # something mirrored in them
            glass = glass + np.clip(self._field(0.1), 0, 1)[..., None] * self._colour(face) * rng.uniform(0.05, 0.6)
        drawn = np.where((lens > 0)[..., None], glass, self._colour(face))
        through = rng.uniform(0, 0.25) * (rng.random() < 0.5)
        return np.clip(drawn, 0, 1).astype(np.float32), self._soft(frame) * np.where(lens > 0, 1 - through, 1).astype(
            np.float32
        )

    def bar(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A bar over the eyes."""
        rng = self.rng
        middle, high = self.centres[0][1] + rng.normal(0, 0.02), np.exp(rng.uniform(np.log(0.04), np.log(0.22)))
        depth = np.minimum(
            high - abs(self.v - middle - (self.u - 0.5) * rng.normal(0, 0.1)),
            rng.uniform(0.28, 0.7) - abs(self.u - 0.5),
        )
        plain = np.broadcast_to(self._colour(face), face.shape)
        drawn = plain if rng.random() < 0.6 else self._cloth(face)
        return np.asarray(drawn, np.float32), self._soft(depth)

    def mosaic(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Squares, or a strong blur, over the eyes or more."""
        rng = self.rng
        block, first = rng.uniform(5, 22), rng.uniform(0, 22, 2)
        if rng.random() < 0.75:
            smooth = ndimage.uniform_filter(face, (round(block), round(block), 1))
            rows, columns = (
                (((np.arange(SIZE) + start) // block + 0.5) * block - start).clip(0, SIZE - 1).astype(int)
                for start in first
            )
            drawn = smooth[rows][:, columns]
        else:
            drawn = ndimage.gaussian_filter(face, (block * 0.7, block * 0.7, 0))
        if rng.random() < 0.6:
            depth = np.minimum(
                rng.uniform(0.08, 0.2) - abs(self.v - self.centres[0][1]), rng.uniform(0.3, 0.6) - abs(self.u - 0.5)
            )
        else:
            at, size = rng.uniform(0.3, 0.7, 2), rng.uniform(0.2, 0.5, 2)
            depth = np.minimum(size[0] - abs(self.u - at[0]), size[1] - abs(self.v - at[1]))
        return drawn, self._soft(depth)

    def veil(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Something thin through which the face shows."""
        drawn, alpha = self.mask(face) if self.rng.random() < 0.7 else self.scarf(face)
        net = 1 + 0.2 * np.sin(self.u * 400 * self.rng.random()) * np.sin(self.v * 400 * self.rng.random())
        return drawn, np.clip(alpha * net * self.rng.uniform(0.55, 0.9), 0, 1).astype(np.float32)

    def paint(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Paint, in patches or stripes."""
        rng = self.rng
        field = self._field(rng.uniform(0.12, 0.5)) * rng.uniform(0.02, 0.06) + rng.uniform(-0.05, 0.05)
        if rng.random() < 0.4:
            angle = rng.uniform(0, np.pi)
            field = (
                np.sin(
                    ((self.u - 0.5) * np.cos(angle) + (self.v - 0.5) * np.sin(angle)) * rng.uniform(3, 20)
                    + rng.uniform(0, 6)
                )
                * 0.05
            )
        field = field - np.quantile(field, rng.uniform(0.45, 0.9))
        tint = self._colour(face)
        skin = np.median(face[face.sum(-1) > 0.1], axis=0)
        if np.abs(np.log(tint + 0.05) - np.log(skin + 0.05)).max() < 0.45:
            tint = np.array([1, 1, 1]) * (skin.mean() < 0.5) * 0.9
        shade = face.mean(-1, keepdims=True) / max(float(skin.mean()), 0.05)
        drawn = tint * (1 + (shade - 1) * rng.uniform(0.2, 0.9))
        return np.clip(drawn, 0, 1).astype(np.float32), self._soft(field) * np.float32(rng.uniform(0.75, 1))

    def closed(self, face: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lids: the colour above the eye drawn over it, a dark line of lashes below or anywhere in it."""
        rng, drawn, alpha = self.rng, face.copy(), np.zeros((SIZE, SIZE), np.float32)
        for eye in self.eyes if rng.random() < 0.8 else self.eyes[:1]:
            rows, columns = np.nonzero(eye)
            for j in np.unique(columns):
                low, high = rows[columns == j].min(), rows[columns == j].max()
                lid = face[max(low - 5, 0) : max(low - 1, 1), j].mean(0) * rng.uniform(0.9, 1.05)
                t = np.linspace(0, 1, high - low + 1)[:, None]
                drawn[low : high + 1, j] = lid * (1 - t) + t * face[min(high + 3, SIZE - 1), j]
                line = (
                    np.exp(-(((t - 0.6 - 0.2 * np.sin(j)) * 3) ** 2)) if rng.random() < 0.7 else 0.3 * np.ones_like(t)
                )
                drawn[low : high + 1, j] *= 1 - rng.uniform(0.4, 0.8) * line
            alpha = np.maximum(alpha, eye)
        blurred = ndimage.gaussian_filter(drawn, (0.7, 1.5, 0))
        return blurred, ndimage.gaussian_filter(alpha, 0.5).astype(np.float32)
