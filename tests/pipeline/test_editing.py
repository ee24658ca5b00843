"""``LatentEditor`` on a generator whose pictures spell their attributes out, and the reader on a portrait."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from ostec.core.errors import FaceError, WeightsError
from ostec.core.types import DoubleArray, FloatArray
from ostec.pipeline.editing import EVEN, NEUTRAL, LatentEditor
from ostec.pipeline.models import load_attribute_reader
from ostec.project.edit import ATTRIBUTES, fit_edits

WIDTH, ROWS = 20, 4
A = len(ATTRIBUTES)
SCALE = np.array([40.0, 40, 1, 1, *[1] * 8])
"""What a pixel's full range stands for."""


@dataclass(frozen=True)
class Spelling:
    """Draws attributes as the first pixels; W means them with a curve in the yaw."""

    reading: DoubleArray = field(default_factory=lambda: np.random.default_rng(3).normal(size=(WIDTH, A)) / WIDTH)

    def synthesis(self, ws: torch.Tensor) -> torch.Tensor:
        shown = ws[:, 0].numpy().astype(np.float64) @ self.reading
        shown[:, 0] = np.tanh(shown[:, 0])
        pixels = np.zeros((len(ws), 3, A, A), np.float32)
        pixels[:, :, 0] = np.clip(shown, -1, 1)[:, None]
        return torch.from_numpy(pixels)


class Reading:
    """Reads them back."""

    def read(self, picture: FloatArray) -> DoubleArray:
        return np.asarray((picture[0, :, 0].astype(np.float64) * 2 - 1) * SCALE)

    def unevenness(self, attributes: DoubleArray) -> float:
        return float(np.abs(attributes[-8:]).sum())


def editor(rounds: int = 5) -> tuple[LatentEditor, FloatArray]:
    generator, reader = Spelling(), Reading()
    latents = np.random.default_rng(0).normal(size=(600, WIDTH)).astype(np.float32)
    drawn = generator.synthesis(torch.from_numpy(latents)[:, None])
    measured = np.stack([reader.read(p.permute(1, 2, 0).numpy() / 2 + 0.5) for p in drawn])
    edits = fit_edits(latents, measured)
    return LatentEditor(generator, edits, reader, rounds), np.repeat(latents[:1], ROWS, axis=0)  # type: ignore[arg-type]


def test_what_is_asked_for_is_reached_by_measuring_and_correcting() -> None:
    one, latent = editor()
    made = one.edit(latent, {"yaw_deg": 0.0, **NEUTRAL, **EVEN})
    assert abs(made.after["yaw_deg"]) < 1.5
    assert abs(made.after["smile"]) < 0.05
    assert made.after["unevenness"] < 0.5 * made.before["unevenness"]
    assert made.after["pitch_deg"] == pytest.approx(made.before["pitch_deg"], abs=4)
    assert made.latent.shape == (ROWS, WIDTH)
    once = editor(rounds=1)[0].edit(latent, {"yaw_deg": 0.0, **NEUTRAL, **EVEN})
    assert abs(made.after["yaw_deg"]) <= abs(once.after["yaw_deg"])


def test_nothing_asked_for_changes_nothing() -> None:
    one, latent = editor()
    made = one.edit(latent, {})
    assert np.array_equal(made.latent, latent)
    assert made.rounds == 0


def test_what_the_edits_have_no_direction_for_is_refused() -> None:
    one, latent = editor()
    with pytest.raises(WeightsError, match="no direction for glasses and baldness"):
        one.edit(latent, {}, {"glasses": 0.0, "baldness": 1.0})


def test_a_round_that_loses_the_face_ends_the_edit() -> None:
    one, latent = editor()

    class Losing(Reading):
        looked = 0

        def read(self, picture: FloatArray) -> DoubleArray:
            self.looked += 1
            if self.looked > 2:
                raise FaceError("gone")
            return super().read(picture)

    made = LatentEditor(one.generator, one.edits, Losing()).edit(latent, {"yaw_deg": 0.0})  # type: ignore[arg-type]
    assert made.rounds == 1


def test_the_reader_measures_a_portrait(astronaut: FloatArray) -> None:
    reader = load_attribute_reader(torch.device("cpu"))
    face = np.ascontiguousarray(astronaut[10:230, 115:335])
    measured, mirrored = reader.read(face), reader.read(np.ascontiguousarray(face[:, ::-1]))
    assert measured[2] > 0.2  # she smiles
    assert mirrored[0] == pytest.approx(-measured[0], abs=4)
    light, other = measured[4:], mirrored[4:]
    assert other[0] == pytest.approx(-light[0], abs=0.06)
    assert other[1:3] == pytest.approx(light[1:3], abs=0.06)
    assert reader.unevenness(mirrored) == pytest.approx(reader.unevenness(measured), rel=0.15)
    with pytest.raises(FaceError, match="shows no face"):
        reader.read(np.full((128, 128, 3), 0.5, np.float32))
