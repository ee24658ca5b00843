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
