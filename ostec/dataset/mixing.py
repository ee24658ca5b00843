"""New faces between those of a dataset: latents mixed within classes of attributes, and their portraits.

As FFHQ-UV-Interpolate (csbhr/FFHQ-UV, README_dataset.md): sort the faces into classes, interpolate in the latent space
within each. Its code is not published; how classes are made of numbers, who is paired and by what weight are choices
made here. What is mixed is W+ of the front view, so that the portraits are frontal: mode hard projects it, and in mode
soft ``--frontalize --save-views`` does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ostec.core.errors import AssetError, UsageError
from ostec.core.text import counted, shown
from ostec.core.types import DoubleArray, FloatArray
from ostec.dataset.attributes import Attributes, Scalar, are_few, as_text, is_number
from ostec.dataset.finished import FRONT, FRONTAL, FacePlace, FinishedDataset, read_face, read_latents
from ostec.dataset.records import MESH
from ostec.dataset.stats import attributes_of, values_of

WEIGHTS = (0.3, 0.7)  # between which the share of the first face lies: nearer to an end it would be that face again
USUAL = ("Gender", "Age", "Beard")  # attributes that FFHQ-UV sorts by
FALLBACK = ("yaw_deg", "brightness")  # columns that stand in where a dataset has none of those
_PARTS = 3  # of equally many faces, into which numbers are cut that are not few
_ATTEMPTS = 200
_TOLD = 12  # classes that are told one by one

Class = tuple[str, ...]


@dataclass(frozen=True)
class Parent:
    """A face that can be mixed with others of its class."""

    place: FacePlace
    attributes: Attributes  # those that classes are made of

    @property
    def photo(self) -> str:
        """Id of the photo that it is of."""
        return self.place.key.rpartition("_")[0]


@dataclass(frozen=True)
class Classes:
    """The faces of a dataset by class."""

    by: tuple[str, ...]  # what the classes are made of
    faces: Mapping[Class, Sequence[Parent]]  # those with faces of at least two photos
    left_out: int  # faces without one of the attributes, or alone in their class
    instead: bool = False  # classes were not asked for, and there are none of the usual attributes

    @property
    def pairs(self) -> int:
        """How many pairs of faces there are within classes, those of one photo among them."""
        return sum(len(faces) * (len(faces) - 1) // 2 for faces in self.faces.values())

    @property
    def sha256(self) -> str:
        """Of what they are: which faces with which attributes are in which class."""
        told = [[k, [[face.place.key, face.attributes] for face in found]] for k, found in self.faces.items()]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode("ascii")).hexdigest()

    def told(self) -> str:
        """What they are, as a sentence."""
        sizes = {" / ".join(label): len(faces) for label, faces in self.faces.items()}
        why = f" (there are no attributes {', '.join(USUAL)})" if self.instead else ""
        each = ", ".join(f"{shown(name)} ({size})" for name, size in [*sizes.items()][:_TOLD])
        more = f" and {len(sizes) - _TOLD} others" if len(sizes) > _TOLD else ""
        rest = f"; {counted(self.left_out, 'face is', 'faces are')} in none" if self.left_out else ""
        by = shown(", ".join(self.by))
        return f"Classes by {by}{why}: {len(sizes)} with {sum(sizes.values())} faces: {each}{more}{rest}."


@dataclass(frozen=True)
class Mix:
    """A new face."""

    index: int
    one: str  # key of the first face
    other: str
    weight: float  # share of the first face
    group: Class
    latent: FloatArray  # W+ [num_ws, W]
    attributes: Attributes  # of the new face: those of its class, and what it was mixed of


def classify(source: FinishedDataset, by: Sequence[str] = ()) -> Classes:
    """Sort the faces of a dataset into classes by attributes, or columns of figures.

    Without any named, by those of :data:`USUAL` that there are, else those of :data:`FALLBACK`. Raises UsageError if no
    face has such an attribute, or no class has faces of two photos, AssetError if the dataset is damaged.
    """
    faces = source.faces_table()
    attributes = attributes_of(faces)
    values = values_of(faces, by or (*USUAL, *FALLBACK))
    known = [name for name in values if any(value is not None for value in values[name])]
    usual = [name for name in USUAL if name in known]
    instead = not by and not usual
    by = by or usual or [name for name in FALLBACK if name in known]
    missing = [name for name in by if name not in known]
    if missing or not by:
        there = ", ".join(sorted(attributes)) or "none"
        raise UsageError(f"No face of {source.folder} has {' or '.join(missing or FALLBACK)}; attributes: {there}.")
    groups: dict[Class, list[Parent]] = {}
    labels = zip(*(_labels(values[name]) for name in by), strict=True)
    rows = faces.select(["key", "shard", "offset", "size"]).to_pylist()
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if "" not in label:
            own = {name: attributes[name][number] for name in by if number in attributes.get(name, {})}
            groups.setdefault(label, []).append(Parent(source.place(row), own))
    kept = {label: found for label, found in sorted(groups.items()) if len({face.photo for face in found}) > 1}
    if not kept:
        raise UsageError(f"{source.folder} has no two photos in the same class of {', '.join(by)}.")
    return Classes(tuple(by), kept, len(rows) - sum(map(len, kept.values())), instead)


def _labels(values: Sequence[Any]) -> list[str]:
    """Names of classes; empty where the value is not known."""
    numbers = [value for value in values if is_number(value)]
    if are_few(len(set(numbers)), len(numbers)) or len(numbers) < sum(value is not None for value in values):
        return ["" if value is None else as_text(value) for value in values]
    borders: DoubleArray = np.quantile(np.array(numbers, np.float64), np.arange(1, _PARTS) / _PARTS)
    return ["" if v is None else f"part {1 + int(np.searchsorted(borders, v))} of {_PARTS}" for v in values]


def mix_attributes(one: Attributes, other: Attributes, weight: float) -> dict[str, Scalar]:
    """What two faces have in common, and of numbers that differ the mean; ``weight``: share of the first."""
    found: dict[str, Scalar] = {}
    for name, value in one.items():
        first, second = value, other.get(name)  # type: Any, Any
        if first == second:
            found[name] = value
        elif is_number(first) and is_number(second):
            found[name] = round(weight * first + (1 - weight) * second, 4)
    return found


class Mixer:
    """Draws new faces; each follows from the seed and its index alone."""

    def __init__(self, classes: Classes, seed: int) -> None:
        self._groups = list(classes.faces.items())
        sizes = np.array([len(faces) for _, faces in self._groups], np.float64)
        self._shares = sizes / sizes.sum()
        self._seed = seed
        self._without: set[str] = set()

    def draw(self, index: int) -> Mix:
        """The new face of an index: two photos of one class, and a weight.

        Raises UsageError if hardly any face has latents of its front view, AssetError if a shard is damaged, or the
        latents have different shapes.
        """
        draw = np.random.default_rng([self._seed, index])
        for _ in range(_ATTEMPTS):
            group, faces = self._groups[int(draw.choice(len(self._groups), p=self._shares))]
            one, other = (faces[int(k)] for k in draw.choice(len(faces), 2, replace=False))
            weight = round(float(draw.uniform(*WEIGHTS)), 4)
            if one.photo == other.photo:
                continue
            first, second = self._latent(one.place), self._latent(other.place)
            if first is None or second is None:
                continue
            keys = one.place.key, other.place.key
            if first.shape != second.shape:
                raise AssetError(f"The latents of {' and '.join(keys)} are of different generators.")
            mixed: FloatArray = (weight * first + (1 - weight) * second).astype(np.float32)
            own = mix_attributes(one.attributes, other.attributes, weight)
            own |= {"mixed_one": keys[0], "mixed_other": keys[1], "mixed_share": weight}
            return Mix(index, *keys, weight, group, mixed, own)
        raise UsageError(
            "Hardly any two faces have latents of their front view; datasets built with --mode hard have them, and "
            "those with --frontalize --save-views."
        )

    def _latent(self, place: FacePlace) -> FloatArray | None:
        if place.key in self._without:
            return None
        latent = read_latents(read_face(place, {MESH, FRONTAL}), place).get(FRONT)
        if latent is None:
            self._without.add(place.key)
        return latent


def require_weights(source: FinishedDataset, generator: str, sha256: str) -> None:
    """See that the latents of a dataset belong to a generator. Raises UsageError."""
    import pyarrow.compute as pc

    for text in pc.unique(source.faces_table()["weights"]).to_pylist():
        if json.loads(text or "{}").get(generator, sha256) != sha256:
            raise UsageError(f"The latents of {source.folder} belong to another {generator} than the one that is here.")
