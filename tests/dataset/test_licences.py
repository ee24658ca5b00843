"""Licences outlast the folder that the program keeps its plan in."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from ostec.core.errors import AssetError
from ostec.dataset.card import hub_licence
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.plan import LICENCES, Build, licence_at, read_builds, unheeded, write_builds
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces

BUILDS = [Build(0, 2, 5, 1, "CC BY 4.0"), Build(2, 1, 2, 0, "")]


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_builds(tmp_path / LICENCES) == []
    write_builds(tmp_path / LICENCES, BUILDS)
    assert read_builds(tmp_path / LICENCES) == BUILDS
    assert [licence_at(BUILDS, shard) for shard in range(4)] == ["CC BY 4.0", "CC BY 4.0", "", "no longer known"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}x",
        "[1]",
        "[{}]",
        '[{"first_shard": -1, "shards": 1, "photos": 1, "copies": 0, "licence": "x"}]',
        '[{"first_shard": 0, "shards": 1e99, "photos": 1, "copies": 0, "licence": "x"}]',
        '[{"first_shard": 0, "shards": 1, "photos": 1, "copies": 0, "licence": ["x"]}]',
        "[" * 100000,
    ],
)
def test_damage_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / LICENCES).write_text(text)
    with pytest.raises(AssetError, match=r"licences\.json is damaged"):
        read_builds(tmp_path / LICENCES)


@pytest.fixture
def ds(tmp_path: Path) -> Path:
    build_faces(tmp_path / "ds", write_photos(tmp_path / "a", {"0.jpg": "zero", "1.jpg": "one"}), 2, "CC BY 4.0")
    return build_faces(tmp_path / "ds", write_photos(tmp_path / "b", {"2.jpg": "two"}), 2, "my own")


def test_they_are_there_when_the_state_is_lost(ds: Path) -> None:
    before = FinishedDataset(ds).builds()
    assert [build.licence for build in before] == ["CC BY 4.0", "my own"]
    shutil.rmtree(ds / "state")
    assert FinishedDataset(ds).builds() == before


def test_a_licence_for_known_photos_is_not_passed_over(
    ds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build_faces(ds, tmp_path / "a", 2, "CC0")
    (told,) = caplog.messages
    assert told == (
        "2 photos are in the dataset already, with the licence that was given then (CC BY 4.0; my own); CC0 is noted "
        "for new photos only."
    )
    assert unheeded([BUILDS[0]], "CC BY 4.0", 3) == ""
    assert unheeded(BUILDS, "", 3) == unheeded(BUILDS, "CC0", 0) == ""
    assert unheeded([BUILDS[1]], "CC0", 1).startswith("1 photo is in the dataset already, with")
    assert "(not given)" in unheeded([BUILDS[1]], "CC0", 1)


@pytest.mark.parametrize(
    ("given", "ids", "name"),
    [
        (["CC BY 4.0"], ("cc-by-4.0",), ""),
        (["cc_by-NC-sa 3.0", "CC0", "MIT License"], ("cc-by-nc-sa-3.0", "cc0-1.0", "mit"), ""),
        (["ask\nme", "CC0"], ("cc0-1.0", "other"), "ask\\nme"),
        (["", "no longer known"], ("unknown",), ""),
        ([], ("unknown",), ""),
        (["CC BY 9.0"], ("other",), "CC BY 9.0"),
    ],
)
def test_licences_in_the_words_of_the_hub(given: list[str], ids: tuple[str, ...], name: str) -> None:
    assert hub_licence(given) == (list(ids), name)


def test_the_file_follows_from_the_builds_alone(tmp_path: Path) -> None:
    write_builds(tmp_path / LICENCES, BUILDS)
    assert json.loads((tmp_path / LICENCES).read_text())[1]["first_shard"] == 2
