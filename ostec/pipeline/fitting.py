"""RGB fitting of photos: landmarks, then texture and light, then all together; the completion follows on that shape."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import ndimage

from ostec.complete.fuse import fuse
from ostec.complete.prior import PriorCompleter
from ostec.core.assets import sha256_of
from ostec.core.device import threads
from ostec.core.morphable import ModelShape
from ostec.core.record import RunRecord
from ostec.core.types import DoubleArray, FittedFace, FloatArray, ObservedFace
from ostec.export.stages import FitStage, write_stages
from ostec.fit.dense import as_canonical
from ostec.fit.morphable import FittedHead
from ostec.fit.regress import read_shape
from ostec.fit.rgb import PUBLISHED_SIDE, FaceState, FaceTarget, LinearFace, RgbFit, RgbFitter, TextureDecoder
from ostec.fit.symmetry import landmarks_by_symmetry
from ostec.heads.maker import HeadMaker
from ostec.light.decoder import AlbedoDecoder, albedo_decoder, latent_of
from ostec.light.remove import light_of_photo
from ostec.light.transfer import LightTransfer, light_transfer
from ostec.load.networks import load_recogniser
from ostec.nets.dlib_face import FaceRecogniser
from ostec.pipeline.completer import STAGE_SECONDS, Completer, FaceInWork
from ostec.pipeline.decoder import GeneratorDecoder, load_decoder, search
from ostec.pipeline.result import CompletedFace
from ostec.pipeline.settings import FitSettings
from ostec.project.identity import identity_crop, identity_loss
from ostec.render.crops import Crop, warp
from ostec.render.geometry import camera_from_matrix, pose_from_rotation, vertex_normals
from ostec.render.harmonics import light_harmonics, scattered_light
from ostec.render.uv import render_textured

MARGIN = 1.15
"""Side of the square that is compared over that of the landmarks' box."""
STEP_SECONDS = 0.12
"""About what a step takes: for the progress alone."""
RIM = 0.01
"""Share of the square that is left out inside the face's outline, where no gradient corrects it."""
LEAST_SIDE = 64
"""Pixels across the square at least."""
SHADOW = (0.2, 1.5)
"""Least and largest factor by which the face's own shadow changes the light of its normals."""
NO_SILHOUETTE = "The silhouette gives no gradient: shape follows landmarks and what is inside the outline."


@dataclass(frozen=True, repr=False)
class FittedResult(CompletedFace):
    """A finished face and the stages of its fit."""

    fit_stages: tuple[FitStage, ...] = ()

    def save_data(self, folder: Path, name: str) -> list[Path]:
        """As of a completed face, and the stages' files."""
        return [*super().save_data(folder, name), *write_stages(folder, name, self.fit_stages, self.textured.topology)]


@dataclass(frozen=True)
class _Fitted:
    """One face after the fit."""

    observed: ObservedFace
    shape: ModelShape
    stages: tuple[FitStage, ...]
    about: dict[str, Any]
    """For the record."""


@dataclass(frozen=True)
class _Lit:
    """What the second stage finds."""

    decoder: TextureDecoder
    state: FaceState
    shadow: FloatArray
    """[V]: factor of the light where the face is in its own shadow."""


@dataclass(frozen=True)
class _Square:
    """The part of the photo that is compared."""

    crop: Crop
    picture: FloatArray
    """[R, R, 3] in [0, 1]."""

    @property
    def side(self) -> int:
        """R."""
        return self.crop.size

    def camera_of(self, matrix: DoubleArray) -> DoubleArray:
        """A photo's camera [3, 4] as the square's."""
        made = matrix.copy()
        made[:2, 3] -= self.crop.offset[:2]
        made[:2] /= self.crop.scale
        return made

    def photo_camera(self, state: FaceState) -> DoubleArray:
        """The camera [3, 4] of a state as the photo's."""
        matrix = np.zeros((3, 4))
        matrix[0, :3], matrix[1, :3] = state.scale * state.rotation[0], -state.scale * state.rotation[1]
        matrix[:2, 3], matrix[2, 3] = state.centre, 1
        matrix[:2] *= self.crop.scale
        matrix[:2, 3] += self.crop.offset[:2]
        return matrix


class FaceFitter(Completer):
    """Photos in, faces fitted by their colours out; every file of a completed face, and those of the stages."""

    settings: FitSettings
    _recogniser: FaceRecogniser | None = None

    def stage_weights(self) -> dict[str, float]:
        """How long the stages take that are long, in units of the others."""
        return {**super().stage_weights(), "fit": self.settings.rgb.steps * STEP_SECONDS / STAGE_SECONDS}

    def _make(self, faces: Sequence[FaceInWork]) -> list[CompletedFace]:
        made: list[CompletedFace] = []
        for one in faces:
            one.run.enter("fit")
            fitted = self._fitted(one)
            evidence = fuse([fitted.observed], self.observer.unwrapper, self.observer.guide)
            (done,) = self._finish([one.work.source], [fitted.observed], [evidence], [one.run], [fitted.shape])
            record = cast("RunRecord", {**done.record, "fit": fitted.about})
            values = {one.name: getattr(done, one.name) for one in fields(done)}
            made.append(FittedResult(**(values | {"record": record}), fit_stages=fitted.stages))
        return made

    @threads(1)  # small steps: more threads wait for each other
    def _fitted(self, one: FaceInWork) -> _Fitted:
        observed, maker, settings = one.observed, self._heads(), self.settings.rgb
        square = _square_of(observed, PUBLISHED_SIDE if self.settings.published else settings.resolution)
        head = self._first(observed, maker)
        second = self._second(observed, square, head)
        face = self._linear_face(head, maker, second.shadow)
        target = self._target(observed, square)
        limits, published = maker.model.expression_range, self.settings.published
        if self._maps is not None:
            assert isinstance(second.decoder, AlbedoDecoder)
            start = replace(second.state, latent=self._maps.start(second.decoder.texture(second.state.latent)))
            search_in = RgbFitter(face, target, self._maps, limits, settings, published)
            second = replace(second, decoder=self._maps, state=search(search_in, self._maps, start))
        fitter = RgbFitter(face, target, second.decoder, limits, settings, published)
        found = fitter.fit(second.state, one.run.advance)
        state = found.state
        camera = square.photo_camera(state)
        fitted = as_canonical(observed.face, face.vertices(state.shape), state.rotation, camera)
        again = replace(
            observed,
            face=fitted,
            seen=replace(self.observer.unwrap(observed.photo, fitted), mask=observed.seen.mask),
            coarse=self.observer.coarse(observed.photo, fitted, observed.seen),
        )
        stages = _stages(fitter, second, found, square)
        return _Fitted(again, state.shape, stages, _about(fitter, second, found, square))

    @functools.cached_property
    def _maps(self) -> GeneratorDecoder | None:
        """The decoder that is no linear one. Raises AssetError, UsageError."""
        asked = self.settings.decoder
        if asked in ("default", "linear"):
            return None
        path, layout = Path(asked), self.observer.unwrapper.on_cpu.layout
        self.weights |= {path.name: sha256_of(path)}
        return load_decoder(path, lambda size: layout(size).inside.numpy(), self.models.topology.sha256)

    def _heads(self) -> HeadMaker:
        heads = self._assembler.heads
        assert heads is not None
        return heads

    def _first(self, observed: ObservedFace, maker: HeadMaker) -> FittedHead:
        """Stage 1: coefficients by landmarks, or as a published network reads them."""
        read = self.models.regressor
        shape = None if read is None else read_shape(read, observed.photo, observed.face.landmarks)
        return maker.fit(landmarks_by_symmetry(observed.face, self.models.topology), shape)

    def _linear_face(self, head: FittedHead, maker: HeadMaker, shadow: FloatArray) -> LinearFace:
        """The face's mesh as the head model moves it."""
        topology, marks = self.models.topology, maker.landmark_model(head)

        def meshed(values: DoubleArray) -> FloatArray:
            flat = topology.operator @ values.reshape(len(values), -1)
            return np.asarray(flat.reshape(-1, *values.shape[1:]), np.float32)

        return LinearFace(
            base=meshed(marks.points),
            at=ModelShape(head.identity, head.expression),
            identity=meshed(marks.identity),
            expression=meshed(marks.expression),
            triangles=topology.triangles,
            uv=topology.uv,
            shadow=shadow,
        )

    def _second(self, observed: ObservedFace, square: _Square, head: FittedHead) -> _Lit:
        """Stage 2: texture and light in closed form."""
        model, prior, settings = self.models.albedo, self.models.prior, self.settings.light
        completer = self.completer
        assert model is not None
        assert prior is not None
        assert isinstance(completer, PriorCompleter)
        layout = self.observer.unwrapper.on_cpu.layout(model.size)
        transfer = light_transfer(observed.face.vertices, self.models.topology.triangles)
        light, _, _ = light_of_photo(observed.coarse, layout, transfer, model, settings)
        fill = completer.canvas.fill(fuse([observed], self.observer.unwrapper, self.observer.guide))
        assert fill is not None
        decoder = albedo_decoder(model, fill.texture, prior.inside, settings.broad)
        harmonics = light_harmonics(transfer.directions, light.lamps[:-1], light.lamps[-1])
        camera = square.camera_of(observed.face.camera_matrix)
        state = FaceState(
            head.identity,
            head.expression,
            observed.face.rotation,
            float(np.linalg.norm(camera[0, :3])),
            camera[:2, 3].copy(),
            harmonics.astype(np.float32),
            latent_of(light),
        )
        return _Lit(decoder, state, self._shadow(observed.face, transfer, light.lamps, harmonics))

    def _shadow(
        self, face: FittedFace, transfer: LightTransfer, lamps: DoubleArray, harmonics: DoubleArray
    ) -> FloatArray:
        """[V]: the light that comes to each vertex over that of its normal alone."""
        normals = vertex_normals(torch.as_tensor(face.vertices), torch.as_tensor(self.models.topology.triangles))
        passed = np.c_[transfer.scattered, np.ones(len(transfer.scattered))] @ lamps
        alone = scattered_light(harmonics, normals.numpy()).mean(1)
        least = self.settings.light.least
        return np.clip(np.maximum(passed.mean(1), least) / np.maximum(alone, least), *SHADOW).astype(np.float32)

    def _target(self, observed: ObservedFace, square: _Square) -> FaceTarget:
        face = observed.face
        points = landmarks_by_symmetry(face, self.models.topology) @ face.camera_matrix[:2, :3].T
        marks = square.crop.points_to_crop(points + face.camera_matrix[:2, 3])
        identity = None
        if self.settings.rgb.identity > 0:
            if self._recogniser is None:
                loaded = load_recogniser(torch.device("cpu"))  # as the fit itself is
                self._recogniser = loaded.network
                self.weights |= loaded.hashes
            network, crop = self._recogniser, identity_crop(marks, self._recogniser)
            planes = torch.from_numpy(square.picture).permute(2, 0, 1)[None] * 2 - 1
            with torch.no_grad():
                wanted = network.embed(warp(planes, [crop]))[0]
            identity = identity_loss(network, wanted, crop)
        return FaceTarget(square.picture, self._bare(observed, square), marks, identity)

    def _bare(self, observed: ObservedFace, square: _Square) -> FloatArray:
        """[R, R]: where the picture shows bare face, a little inside the mesh's outline."""
        face, seen = observed.face, observed.seen
        mask = torch.from_numpy((seen.mask * seen.visible).astype(np.float32))[..., None]
        camera = camera_from_matrix(square.camera_of(face.camera_matrix), face.rotation)
        layout, size = self.observer.unwrapper.on_cpu.layout(seen.size), (square.side, square.side)
        drawn = render_textured(torch.from_numpy(face.vertices), layout, mask, camera, size).colour
        reach = 2 * max(1, round(RIM * square.side)) + 1
        return np.asarray(ndimage.minimum_filter(drawn[..., 0].numpy(), reach), np.float32)


def _square_of(observed: ObservedFace, side: int) -> _Square:
    """The square round a face, at the photo's own resolution up to ``side`` pixels."""
    points = observed.face.landmarks[:, :2].astype(np.float64)
    low, high = points.min(0), points.max(0)
    width = MARGIN * float((high - low).max())
    x, y = (low + high) / 2
    crop = Crop((float(x), float(y)), width, 0.0, max(LEAST_SIDE, min(round(width), side)))
    picture = warp(torch.from_numpy(observed.photo).permute(2, 0, 1)[None], [crop])[0]
    return _Square(crop, picture.permute(1, 2, 0).numpy().copy())


def _stages(fitter: RgbFitter, second: _Lit, found: RgbFit, square: _Square) -> tuple[FitStage, ...]:
    """What is written of each stage."""
    photo, start, decoder = fitter.target.picture, second.state, second.decoder
    mean = decoder.plain(start.latent)

    def stage(number: int, state: FaceState, losses: dict[str, tuple[float, ...]] | None = None) -> FitStage:
        drawn = fitter.draw(state)
        picture = torch.where(drawn.hit, drawn.picture, torch.from_numpy(photo)).numpy()
        at_rest = ModelShape(state.identity, np.zeros_like(state.expression))
        return FitStage(
            number,
            np.concatenate([photo, picture], axis=1),
            decoder.texture(state.latent) if number > 1 else None,
            {"id": fitter.face.vertices(at_rest), "exp": fitter.face.vertices(state.shape)},
            {
                "identity": state.identity,
                "expression": state.expression,
                "rotation": state.rotation,
                "camera_matrix": square.photo_camera(state),
                "harmonics": state.harmonics,
                "latent": state.latent,
            },
            losses or {},
        )

    return stage(1, replace(start, latent=mean)), stage(2, start), stage(3, found.state, found.losses)


def _about(fitter: RgbFitter, second: _Lit, found: RgbFit, square: _Square) -> dict[str, Any]:
    """What the record says of the fit."""
    begun, ended = (pose_from_rotation(state.rotation) for state in (second.state, found.state))
    return {
        "decoder": "linear" if isinstance(second.decoder, AlbedoDecoder) else "maps",
        "side_px": square.side,
        "look_up": "nearest" if fitter.nearest else "bilinear",
        "losses": {
            name: {"first": round(values[0], 5), "last": round(values[-1], 5)} for name, values in found.losses.items()
        },
        "turned_deg": [round(b - a, 2) for a, b in zip(begun, ended, strict=True)],
        "harmonics": np.round(found.state.harmonics, 4).tolist(),
        "notes": [NO_SILHOUETTE],
    }
