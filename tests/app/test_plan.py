"""Which settings make another result, and which do not."""

from dataclasses import replace
from pathlib import Path

import pytest

from ostec.app.photos.plan import decide
from ostec.app.photos.runner import Action
from ostec.app.photos.sources import Photo
from ostec.core.assets import sha256_of
from ostec.core.settings import to_json
from ostec.export.record import write_record
from ostec.pipeline.settings import CompleteSettings
from ostec.prior.settings import PriorSettings
from ostec.project.settings import ProjectionSettings


@pytest.mark.parametrize(
    ("made", "asked", "other"),
    [
        ({}, {}, False),
        ({}, {"iterations": 100}, True),
        ({}, {"iterations_frontalize": 9}, False),
        ({"iterations": 0}, {"generator": "none"}, False),
        ({"iterations": 0}, {"generator": "none", "iterations": 50}, False),
        ({}, {"generator": "none"}, True),
        ({"save_views": True}, {}, False),
        ({}, {"save_views": True}, True),
        ({}, {"mode": "hard"}, True),
        ({}, {"completer": "generator"}, False),
        ({"iterations": 0}, {"completer": "prior"}, False),
        ({"iterations": 0}, {"completer": "prior", "seed": 4}, False),
        ({"completer": "prior", "samples": 3}, {"completer": "prior", "samples": 3}, False),
        ({"completer": "prior"}, {"completer": "prior", "samples": 3}, True),
        ({"completer": "prior", "samples": 3}, {"completer": "prior", "samples": 3, "seed": 4}, True),
        ({"completer": "prior"}, {"completer": "diffusion"}, True),
        ({}, {"project": ProjectionSettings(ms_ssim=2.0)}, True),
        ({"iterations": 0}, {"iterations": 0, "project": ProjectionSettings(ms_ssim=2.0)}, False),
        ({}, {"fill": PriorSettings(tau=1.0)}, True),
    ],
)
def test_a_result_is_told_from_one_of_other_settings(
    tmp_path: Path, made: dict[str, object], asked: dict[str, object], other: bool
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    settings = [replace(CompleteSettings(), **changed) for changed in (made, asked)]  # type: ignore[arg-type]
    record = {"files": ["a.json"], "source_sha256": sha256_of(photo), "settings": to_json(settings[0])}
    write_record(tmp_path, "a", record)
    step = decide(Photo(photo, "a"), tmp_path, settings[1], overwrite=False)
    assert (step.action, bool(step.differs)) == (Action.SKIP, other)


def test_the_setting_that_differs_is_named_and_what_a_record_does_not_tell_was_the_default(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    old = {name: value for name, value in to_json(CompleteSettings()).items() if not isinstance(value, dict)}
    record = {"files": ["a.json"], "source_sha256": sha256_of(photo), "settings": {**old, "seed": 0}}
    write_record(tmp_path, "a", record)
    asked = replace(CompleteSettings(), project=ProjectionSettings(ms_ssim=200.0), mode="hard")
    assert decide(Photo(photo, "a"), tmp_path, CompleteSettings(), overwrite=False).differs == ""
    step = decide(Photo(photo, "a"), tmp_path, asked, overwrite=False)
    assert step.differs == "settings (mode auto, asked for hard; project.ms_ssim 1.0, asked for 200.0)"
