"""Photos in, frontal portraits out, and nothing else: for those who prepare pictures for face recognition."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ostec.complete.fuse import fuse
from ostec.complete.settings import TurnSettings
from ostec.core.device import pick_device
from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.types import FittedFace, ObservedFace, TexturedFace
from ostec.export.pictures import FaceRenderer, camera_of_portrait, canonical_landmarks
from ostec.export.surfaces import surfaces_of
from ostec.heads.maker import HeadMaker
from ostec.nets.arcface import SIZE, TEMPLATE
from ostec.pipeline.completer import texture_completer
from ostec.pipeline.frontal import Portrait, Sitter, look_around, turned_portrait
from ostec.pipeline.models import Models, load_head_maker, load_models
from ostec.pipeline.observe import Observer, PhotoLike
from ostec.pipeline.settings import CompleteSettings
from ostec.render.crops import Crop, crop_onto_template, five_points, warp

DRAWN = 512
"""Side in pixels at which portraits are drawn, at least; smaller ones are averaged down."""
WIDER = 1.25
"""Side of FFHQ's square in sides of ArcFace's, about."""
TEXELS = 256
"""Side of the face's texture: it is seen where the photo does not show the face."""


@dataclass(frozen=True)
class FrontalFace:
    """The largest face of a photo from the front."""

    portrait: Portrait
    """Of the size and alignment that were asked for."""
    face: FittedFace
    confidence: float
    """FaceMesh's, 0 to 1."""
    source: dict[str, str]
    """Of the photo: ``source`` and ``source_sha256``."""
    warnings: tuple[str, ...] = ()


class Frontalizer:
    """Turns the largest face of each photo to the front; holds the networks."""

    def __init__(self, models: Models, heads: HeadMaker, device: torch.device, size: int, align: str) -> None:
        """Make portraits of ``size`` pixels, aligned as FFHQ's or ArcFace's pictures are (``ffhq``, ``arcface``)."""
        if align not in ("ffhq", "arcface") or size <= 0:
            raise ValueError(f"expected ffhq or arcface and a positive size, got {align!r} and {size}")
        settings = CompleteSettings(iterations=0, uv_size=TEXELS)
        self._models, self._heads, self._size, self._align = models, heads, size, align
        self._observer = Observer(models, TEXELS, device, settings.observe)
        self._completer = texture_completer(models, settings, self._observer, None, device)
        self._renderer, self._turn = FaceRenderer(models.topology), TurnSettings()

    @classmethod
    def from_pretrained(cls, size: int = 512, align: str = "ffhq", device: str = "auto") -> "Frontalizer":
        """Load what ships. Raises AssetError, BackendError: a file is missing, or the device."""
        chosen, _ = pick_device(device)
        heads = load_head_maker("head")
        return cls(load_models(chosen, CompleteSettings(iterations=0)), heads, chosen, size, align)

    def __call__(self, photo: PhotoLike, progress: Progress | None = None) -> FrontalFace:
        """The largest face of a photo that can be used. Raises ImageError, FaceError."""
        run = PhotoRun(never_falling(progress), {"project": 0.0})
        read, boxes = self._observer.open(photo, run)
        run.warnings.extend(read.notes)
        errors: list[FaceError] = []
        for box in boxes:
            try:
                observed = self._observer.observe(read.image, box, run)
            except FaceError as error:
                errors.append(error)
                continue
            run.warnings.extend(observed.warnings)
            return self._turned(observed, read.source, run)
        raise errors[0]

    def _turned(self, observed: ObservedFace, source: dict[str, str], run: PhotoRun) -> FrontalFace:
        face, topology = observed.face, self._models.topology
        run.enter("prior")
        evidence = fuse([observed], self._observer.unwrapper, self._observer.guide)
        (completion,) = self._completer.complete([evidence], lambda _stage, _share: None)
        run.enter("export")
        around = look_around(self._models, observed.photo, face)
        head = self._heads(TexturedFace(face, topology, completion.texture), None, around)
        sitter = Sitter(face, completion.texture.colour, topology, surfaces_of(head), around)
        wide = DRAWN if self._align == "ffhq" else max(DRAWN, round(WIDER * self._size))
        portrait = self._aligned(turned_portrait(self._renderer, sitter, self._turn, wide), face)
        run.finish()
        return FrontalFace(portrait, face, observed.confidence, source, tuple(run.warnings))

    def _aligned(self, portrait: Portrait, face: FittedFace) -> Portrait:
        """A portrait that was drawn as FFHQ's are, in the size and alignment that were asked for."""
        wide = len(portrait.picture)
        crop = Crop((wide / 2, wide / 2), wide, 0.0, self._size)
        if self._align == "arcface":
            points = torch.as_tensor(canonical_landmarks(face))
            pixels = camera_of_portrait(face, size=wide).project(points)[0].numpy()
            crop = crop_onto_template(five_points(pixels), TEMPLATE * (self._size / SIZE), self._size)
        planes: Any = np.dstack([portrait.picture, portrait.guess])
        found = warp(torch.from_numpy(planes).permute(2, 0, 1)[None], [crop])[0].permute(1, 2, 0).numpy()
        return replace(portrait, picture=found[..., :3].copy(), guess=found[..., 3].copy())
