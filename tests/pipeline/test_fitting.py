"""The fit of the example that ships, in few steps."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import OstecWarning
from ostec.core.types import FloatArray
from ostec.fit.settings import RgbFitSettings
from ostec.pipeline import FaceFitter
from ostec.pipeline.fitting import FittedResult
from ostec.pipeline.settings import FitSettings


@pytest.mark.slow
@pytest.mark.filterwarnings(f"ignore::{OstecWarning.__module__}.{OstecWarning.__name__}")
def test_a_photo_is_fitted_from_end_to_end(astronaut: FloatArray, tmp_path: Path) -> None:
    settings = FitSettings(uv_size=256, rgb=RgbFitSettings(steps=12, resolution=128, identity=0))
    made = FaceFitter.from_pretrained(settings, "cpu")(astronaut)
    assert isinstance(made, FittedResult)
    losses = made.record["fit"]["losses"]
    assert losses["total"]["last"] < losses["total"]["first"]
    assert losses["colour"]["last"] < losses["colour"]["first"]
    eyes = made.vertices[[33, 263]].astype(np.float64)
    assert np.linalg.norm(eyes[0] - eyes[1]) == pytest.approx(90, abs=1e-2)
    assert eyes.mean(0) == pytest.approx([0, 0, 60], abs=1e-2)
    assert made.head is not None
    assert made.head.identity == pytest.approx(made.fit_stages[2].arrays["identity"], abs=1e-5)
    made.save(tmp_path, "a")
    stages = np.load(tmp_path / "a_stages.npz")
    assert stages["stage1_identity"] == pytest.approx(stages["stage2_identity"])
    assert len(stages["stage3_loss_total"]) == 12
    assert {f"a_stage{k}_exp.obj" for k in (1, 2, 3)} <= {path.name for path in tmp_path.iterdir()}


def test_what_a_fit_cannot_do_without_is_refused() -> None:
    for changes in ({"face_model": "none"}, {"materials": "none"}):
        with pytest.raises(ValueError, match="must not be none"):
            FitSettings(**changes)  # type: ignore[arg-type]
