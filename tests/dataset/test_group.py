"""Photos of one person are fused to one face: they follow each other in one shard, whatever order they came in."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ostec.core.errors import FaceError, UsageError
from ostec.dataset.build import Dataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import DatasetConfig, grouped, read_config
from ostec.dataset.records import Item, Made, Photo, Place
from ostec.dataset.worker import FaceMaker
from tests.dataset.toy import Loop, ToyMaker, content, finish, plan, write_photos

PHOTOS = {f"{name}.jpg": f"photo {name}" for name in ("a1", "b1", "a2", "c", "b2", "a3", "d")}
TABLE = "file,person\n" + "".join(f"{name},{name[0]}\n" for name in PHOTOS if name[:2] not in ("c.", "d."))


class Together(ToyMaker):
    """The first photo of several gets the face."""

    def __call__(self, photos: Sequence[Photo]) -> list[Made]:
        first, *others = super().__call__(photos)
        return [first, *(replace(one, faces=(), skipped=f"It was fused with {photos[0].source}.") for one in others)]


def build(folder: Path, name: str = "ds", limit: int = 10**9, draw: random.Random | None = None) -> Path:
    photos = write_photos(folder / "in", PHOTOS)
    (folder / "people.csv").write_text(TABLE)
    dataset = Dataset.create(folder / name, DatasetConfig(shard_size=4, group="person"))
    with dataset.locked():
        if not dataset.plan.shards:
            plan(dataset, photos, attributes=str(folder / "people.csv"))
        finish(dataset, Loop(dataset, draw, limit, Together))
    return folder / name


def test_a_person_has_one_face(tmp_path: Path) -> None:
    ds = build(tmp_path)
    rows = [(r["source"], r["status"], r["item"] // 4) for r in read_manifest(ds / "manifest.parquet")]
    assert rows == [
        ("a1.jpg", "done", 0),
        ("a2.jpg", "skipped", 0),
        ("a3.jpg", "skipped", 0),
        ("b1.jpg", "done", 1),
        ("b2.jpg", "skipped", 1),
        ("c.jpg", "done", 1),
        ("d.jpg", "done", 1),
    ]
    reasons = {r["reason"] for r in read_manifest(ds / "manifest.parquet") if r["status"] == "skipped"}
    assert reasons == {"It was fused with a1.jpg.", "It was fused with b1.jpg."}
    config = read_config(ds)
    assert config is not None
    assert config.group == "person"


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_an_interrupted_build_gives_the_same(tmp_path: Path, limit: int) -> None:
    whole = content(build(tmp_path, "whole", draw=random.Random(2)))
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, "cut", limit)
    assert content(build(tmp_path, "cut")) == whole


def item(number: int, who: str = "", **more: Any) -> Item:
    place = Place(f"/{number}")
    values = {"attributes": {"who": who} if who else {}, **more}
    return Item(number, f"{more.pop('id', number):016x}", "", f"{number}.jpg", place, **values)


def test_people_are_brought_together_and_copies_follow_their_numbers() -> None:
    copy = replace(item(14, "a"), id=item(12).id, status="skipped", reason="The same picture as photo 12 of the plan.")
    found = grouped([item(10, "a"), item(11, "b"), item(12, "a"), item(13, "b"), copy, item(15)], "who", 5)
    assert [(one.source, one.number) for one in found] == [
        *(("10.jpg", 10), ("12.jpg", 11), ("14.jpg", 12)),
        *(("11.jpg", 13), ("13.jpg", 14)),
        ("15.jpg", 15),
    ]
    assert found[2].reason == "The same picture as photo 11 of the plan."


def test_a_person_without_room_begins_the_next_shard_and_one_with_too_many_is_refused() -> None:
    assert [one.number for one in grouped([item(0), item(1, "a"), item(2, "a"), item(3, "a")], "who", 3)] == [
        0,
        3,
        4,
        5,
    ]
    with pytest.raises(UsageError, match="a has 3 photos, more than --shard-size 2"):
        grouped([item(n, "a") for n in range(3)], "who", 2)


def test_all_photos_of_a_person_fail_together(tmp_path: Path) -> None:
    def fuse(given: list[Any], progress: Any) -> None:
        progress("read", 0.0)
        raise FaceError(f"No face was found in {len(given)} photos.")

    maker = FaceMaker(cast("Any", SimpleNamespace(fuse=fuse)), fuses=True)
    made = maker([Photo(b"1", "1.jpg", tmp_path), Photo(b"2", "2.jpg", tmp_path)])
    assert [(str(one.error), one.stage) for one in made] == [("No face was found in 2 photos.", "read")] * 2
