"""What evaluations of photos load once per process, and the way of a photo as far as its face in the layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ostec.complete.canvas import UvCanvas
from ostec.complete.prior import PriorCompleter
from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, FaceError
from ostec.core.progress import PhotoRun
from ostec.core.types import BoolArray, FittedFace, FloatArray, UvObservation
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.eval.jobs import Jobs, digest_of, program_digest
from ostec.eval.judges import Judges, load_judges
from ostec.eval.report.drawing import SEEN_COSINE
from ostec.eval.report.record import Row
from ostec.export.record import versions
from ostec.fit.dense import fit_dense
from ostec.pipeline import Completer, Models, load_models
from ostec.pipeline.observe import MAX_YAW_DEG, MIN_CONFIDENCE, FoundFace, Observer, Tried, find_face
from ostec.pipeline.settings import CompleteSettings
from ostec.prior.linear import prior_weight

DETECTOR = "detector"
WHOLE_PICTURE = "whole picture"
BARE = 0.5
"""Mask above which a texel counts as bare face."""


@dataclass(frozen=True)
class Loaded:
    """Networks, prior, generator and judges; evaluations run on the CPU."""

    models: Models
    completer: Completer
    judges: Judges

    @property
    def observer(self) -> Observer:
        """Brings photos into the layout."""
        return self.completer.observer


@lru_cache(maxsize=1)
def load(settings: CompleteSettings) -> Loaded:
    """Load what ships, or what the settings name. Raises AssetError."""
    device = torch.device("cpu")
    models = load_models(device, settings)
    return Loaded(models, Completer(models, settings, device, []), load_judges(models))


def without_generator(loaded: Loaded) -> PriorCompleter:
    """Completes by the photo and the prior alone. Raises ValueError where there is no prior."""
    observer = loaded.observer
    return PriorCompleter(UvCanvas(observer.unwrapper.layout, observer.guide, loaded.models.prior), "soft")


@dataclass(frozen=True)
class Sight:
    """A photo's face and what of it the photo shows."""

    face: FittedFace
    seen: UvObservation
    """Its mask says what is bare face."""
    region: str
    """Where the landmarks were looked for: ``DETECTOR`` or ``WHOLE_PICTURE``."""

    @property
    def shown(self) -> BoolArray:
        """[S, S]: texels that the photo shows, not too steeply, as bare face."""
        seen = self.seen
        return seen.visible & (seen.cosine > SEEN_COSINE) & (seen.mask > BARE)

    @property
    def weight(self) -> FloatArray:
        """[S, S] in [0, 1]: trust in each texel, as the prior sees it."""
        seen = self.seen
        return prior_weight(seen.cosine, seen.visible, seen.margin_mm) * seen.mask


def look(image: FloatArray, observer: Observer, aligned: bool = False) -> Sight:
    """Find the face of a photo and bring it into the layout.

    Args:
        image: [H, W, 3] in [0, 1].
        observer: with the networks; unwraps at its size.
        aligned: take the whole picture for the face where the detector finds none, as in a portrait that it fills.

    Raises:
        FaceError: there is none that can be used.
    """
    face, region = _find(image, observer, aligned)
    return Sight(face, observer.mask(image, face, observer.unwrap(image, face)).seen, region)


def _find(image: FloatArray, observer: Observer, aligned: bool) -> tuple[FittedFace, str]:
    models = observer.models
    try:
        tried = Tried[FoundFace](observer.detect(image), 1)
        for box in tried:
            with tried.attempt():
                tried.results.append(find_face(image, box, models, PhotoRun(None), observer.settings))
        if not tried.results:
            raise tried.errors[0]
        return tried.results[0].face, DETECTOR
    except FaceError:
        if not aligned:
            raise
    landmarks = detect_landmarks_in(image, whole_image(image.shape[1], image.shape[0]), models.facemesh)
    if landmarks.confidence < MIN_CONFIDENCE:
        raise FaceError("No face was found in the photo.")
    face = fit_dense(landmarks, models.topology)
    if abs(face.pose_deg[1]) > MAX_YAW_DEG:
        raise FaceError(f"The face is nearly in profile (yaw {abs(face.pose_deg[1]):.0f} degrees).")
    return face, WHOLE_PICTURE


def rows_of(outcomes: Mapping[str, Mapping[str, Any]]) -> tuple[Row, ...]:
    """The rows of jobs' outcomes; a failed job has none."""
    return tuple(Row(**row) for outcome in outcomes.values() for row in outcome.get("rows", ()))


def failures_of(outcomes: Mapping[str, Mapping[str, Any]], item: Callable[[str], str]) -> tuple[dict[str, str], ...]:
    """What failed in jobs' outcomes, whole jobs by the items that ``item`` says they stand for, whatever the method."""
    found = []
    for key, outcome in outcomes.items():
        if "error" in outcome:
            found.append({"item": item(key), "method": "", "reason": str(outcome["error"])})
        found += outcome.get("failures", ())
    return tuple(found)


def run_digest(kind: str, settings: Mapping[str, Any], by: Loaded, *more: Any) -> str:
    """Of all that decides the outcomes of the jobs of an evaluation.

    Args:
        kind: the evaluation's.
        settings: plain values.
        by: weights and judges.
        more: plain values: what the jobs read, and the like.
    """
    return digest_of(kind, settings, by.models.hashes, by.judges.described(), versions(), program_digest(), *more)


def content_of(path: Path) -> str:
    """SHA-256 of a photo's bytes, for the digest of jobs; of one that cannot be read, that it cannot."""
    try:
        return sha256_of(path)
    except AssetError:
        return "unreadable"


def drop_incomplete(jobs: Jobs) -> None:
    """Forget the outcomes whose pictures have gone, so that their jobs are done again."""
    for key in jobs.keys:
        outcome = jobs.found(key)
        named = {name for row in (outcome or {}).get("rows", ()) for name in row["pictures"].values()}
        if not all((jobs.folder / name).is_file() for name in named):
            jobs.path(key).unlink(missing_ok=True)
