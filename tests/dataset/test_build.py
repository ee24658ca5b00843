"""A dataset depends on its plan alone: not on order, interruptions, or where the photos lay."""

import json
import random
import shutil
from pathlib import Path

import pytest

from ostec.core.errors import AssetError, OutputError, UsageError
from ostec.dataset import store as store_module
from ostec.dataset.build import Dataset, alone, group_sizes, is_building
from ostec.dataset.files import read_lines
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.selection import write_selection
from ostec.io.shards import read_member, read_members
from ostec.pipeline.settings import CompleteSettings
from tests.dataset.toy import Loop, build, content, many_photos, plan, write_photos


def rows_of(out: Path) -> list[dict]:
    return list(read_manifest(out / "manifest.parquet"))


def test_a_dataset_holds_every_photo_once(tmp_path: Path) -> None:
    words = {"a.jpg": "faces=2 hand", "b.jpg": "noface", "c/d.png": "one warn=small", "e.jpg": "faces=2 hand"}
    counts = build(tmp_path / "ds", write_photos(tmp_path / "in", words), shard_size=3)
    assert (counts.done, counts.failed, counts.skipped, counts.faces, counts.pending) == (2, 1, 1, 3, 0)
    rows = rows_of(tmp_path / "ds")
    assert [(r["item"], r["source"], r["status"], r["face"], r["faces"]) for r in rows] == [
        (0, "a.jpg", "done", 1, 2),
        (0, "a.jpg", "done", 2, 2),
        (1, "b.jpg", "failed", 0, None),
        (2, "e.jpg", "skipped", 0, None),
        (3, "c/d.png", "done", 1, 1),
    ]
    assert rows[0]["id"] == rows[3]["id"] == rows[0]["sha256"][:16]
    assert rows[0]["key"] == f"{rows[0]['id']}_1"
    assert (rows[2]["stage"], rows[2]["reason"]) == ("detect", "No face was found.")
    assert (rows[3]["stage"], rows[3]["reason"]) == ("plan", "The same picture as photo 0 of the plan.")
    assert rows[0]["face_size_px"] == 100.5
    assert rows[0]["occluders"] == ["hand"]
    assert rows[4]["warnings"] == ["small"]
    assert json.loads(rows[4]["weights"]) == {"toy.safetensors": "00" * 32}
    assert [r["shard"] for r in rows] == ["00000.tar", "00000.tar", None, None, "00001.tar"]
    failures = list(read_lines(tmp_path / "ds/failures/00000.jsonl"))
    assert [(f["path"], f["status"]) for f in failures] == [
        (str(tmp_path / "in/b.jpg"), "failed"),
        (str(tmp_path / "in/e.jpg"), "skipped"),
    ]


def test_members_lie_where_the_manifest_says(tmp_path: Path) -> None:
    build(tmp_path / "ds", many_photos(tmp_path / "in", 20))
    for row in rows_of(tmp_path / "ds"):
        if row["status"] != "done":
            continue
        path = tmp_path / "ds/shards" / row["shard"]
        own = [m for m in read_members(path) if m.key == row["key"]]
        assert [m.ending for m in own] == ["mesh.npz", "uv.png", "json"]
        assert (own[0].header, own[-1].end) == (row["offset"], row["offset"] + row["size"])
        record = json.loads(read_member(path, own[-1]))
        assert (record["id"], record["face"], record["source"]) == (row["id"], row["face"], row["source"])


@pytest.mark.parametrize("seed", range(4))
def test_order_and_interruptions_leave_no_trace(tmp_path: Path, seed: int) -> None:
    photos = many_photos(tmp_path / "in", 60)
    build(tmp_path / "calm", photos)
    draw = random.Random(seed)
    sources: tuple[Path, ...] = (photos,)
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "ds", *sources, draw=draw, limit=draw.randrange(9))
        sources = () if draw.random() < 0.5 else (photos,)  # both go on: resume, and the same command
    counts = build(tmp_path / "ds", draw=draw)
    assert content(tmp_path / "ds") == content(tmp_path / "calm")
    assert counts.pending == 0
    assert counts.done + counts.failed + counts.skipped == 61
    assert not list((tmp_path / "ds/state/staged").iterdir())


@pytest.mark.parametrize("after", ["shard", "failures", "timings", "sealed"])
def test_a_sealing_that_was_cut_short_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    photos = many_photos(tmp_path / "in", 30)
    build(tmp_path / "calm", photos)
    place, name = {
        "shard": (store_module, "write_shard"),
        "failures": (store_module, "write_lines"),
        "timings": (store_module, "write_lines"),
        "sealed": (store_module.shutil, "rmtree"),
    }[after]
    original, calls = getattr(place, name), []

    def cut(*words, **more):
        result = original(*words, **more)
        calls.append(words)
        if after != "sealed" and len(calls) == {"shard": 3, "failures": 4, "timings": 5}[after]:
            raise KeyboardInterrupt
        if after == "sealed" and (tmp_path / "ds/state/sealed/00001.jsonl").exists():
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "ds", photos)
    build(tmp_path / "ds")
    assert content(tmp_path / "ds") == content(tmp_path / "calm")


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 30)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "ds", photos, limit=13)
    loop = Loop(Dataset.open(tmp_path / "ds"))
    done = []
    run = loop.run
    loop.run = lambda items: run(g for g in items if not done.extend(i.number for i in g.items))  # type: ignore[method-assign]
    loop.dataset.run(loop, lambda *_: None)
    copies = {30}
    assert sorted(done) == sorted(set(range(31)) - set(range(13)) - copies)


@pytest.mark.parametrize("limit", range(1, 30, 4))
def test_photos_are_done_with_the_same_others_after_an_interruption(tmp_path: Path, limit: int) -> None:
    photos = many_photos(tmp_path / "in", 30)
    build(tmp_path / "calm", photos, batch=3)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "ds", photos, batch=3, limit=limit, draw=random.Random(limit))
    build(tmp_path / "ds", batch=3, draw=random.Random(-limit))
    assert content(tmp_path / "ds") == content(tmp_path / "calm")
    together = [
        member.key for member in read_members(tmp_path / "ds/shards/00001.tar") if member.ending == "together.bin"
    ]
    assert together, "the toy does not tell who was done with whom"


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(0, 4, []), (1, 4, [1]), (4, 4, [2, 1, 1]), (12, 4, [4, 3, 2, 1, 1, 1]), (5, 1, [1] * 5)],
)
def test_the_last_groups_are_smaller(count: int, most: int, sizes: list[int]) -> None:
    assert list(group_sizes(count, most)) == sizes


def test_many_photos_are_in_few_groups() -> None:
    sizes = list(group_sizes(500, 4))
    assert sum(sizes) == 500
    assert sizes.count(4) >= 122


def test_another_batch_is_another_dataset(tmp_path: Path) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": "one"}), batch=2)
    with pytest.raises(UsageError, match=r"was begun with batch 2 \(asked for: 3\)"):
        build(tmp_path / "ds", batch=3)


def test_a_moved_folder_still_matches(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 20)
    build(tmp_path / "calm", photos)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "ds", photos, limit=5)
    shutil.move(photos, tmp_path / "moved")
    counts = build(tmp_path / "ds", tmp_path / "moved")
    assert counts.failed == 2
    changed = {name for name, data in content(tmp_path / "calm").items() if content(tmp_path / "ds")[name] != data}
    assert changed == {"failures/00000.jsonl", "failures/00001.jsonl"}  # they hold the path


def test_new_photos_form_new_shards(tmp_path: Path) -> None:
    first = many_photos(tmp_path / "in", 10)
    build(tmp_path / "ds", first)
    before = content(tmp_path / "ds")
    second = write_photos(tmp_path / "more", {"x.jpg": "new", "y.jpg": "photo 1"})
    counts = build(tmp_path / "ds", second, first)
    after = content(tmp_path / "ds")
    assert {name for name in before if before[name] != after[name]} == {
        "manifest.parquet",
        "README.md",
        "licences.json",
        "shards/SHA256SUMS",
    }
    assert counts.done + counts.failed + counts.skipped == 13
    assert rows_of(tmp_path / "ds")[-1]["item"] == 16  # 12 photos take two shards of eight
    assert "| 00002 to 00002 | 1 | CC0 |" in (tmp_path / "ds/README.md").read_text()


def test_sources_that_were_not_planned_to_the_end_are_not_forgotten(tmp_path: Path) -> None:
    first = write_photos(tmp_path / "one", {"a.jpg": "1"})
    second = write_photos(tmp_path / "two", {"b.jpg": "2"})
    dataset = Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8))
    dataset.note_sources([str(first)], "CC0")
    dataset.note_sources([str(first)], "CC0")
    assert dataset.has_noted_sources
    counts = build(tmp_path / "ds", second)
    assert counts.done + counts.failed + counts.skipped == 2
    assert [r["item"] for r in rows_of(tmp_path / "ds")] == [0, 8]
    assert not dataset.has_noted_sources


def test_sources_that_are_away_for_a_while_are_not_forgotten(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "one", {"a.jpg": "1"})
    Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8)).note_sources([str(photos)], "CC0")
    photos.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"There is no file or folder .*/one\. It was named before"):
            build(tmp_path / "ds")
    (tmp_path / "away").rename(photos)
    assert build(tmp_path / "ds").done == 1


def test_other_sources_are_planned_although_earlier_ones_are_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_photos(tmp_path / "one", {"a.jpg": "1"})
    Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8)).note_sources([str(photos)], "CC0")
    photos.rename(tmp_path / "away")
    assert build(tmp_path / "ds", tmp_path / "away").done == 1
    assert "/one. It was named before and is not planned; please name it again" in caplog.text
    with pytest.raises(UsageError, match=r"There is no file or folder .*/gone\.$"):
        build(tmp_path / "ds", tmp_path / "gone")
    assert build(tmp_path / "ds").done == 1


def test_a_part_of_a_dataset_takes_no_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "1", "b.jpg": "2"})
    build(tmp_path / "ds", photos)
    source = FinishedDataset(tmp_path / "ds")
    left_out = {row["key"]: "not a" for row in source.faces() if row["source"][0] != "a"}
    write_selection(source, tmp_path / "part", left_out, {})
    before = content(tmp_path / "part")
    with pytest.raises(UsageError, match=r"is a part of another dataset, as its selection\.json says"):
        build(tmp_path / "part", photos)
    with pytest.raises(UsageError, match="is a part of another dataset"):
        Dataset.open(tmp_path / "part").preview([str(photos)], "", lambda _: (), lambda _: None)
    assert build(tmp_path / "part").pending == 0
    assert content(tmp_path / "part") == before


def test_settings_can_be_corrected_before_anything_is_done(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 5)
    dataset = Dataset.create(
        tmp_path / "ds", DatasetConfig(CompleteSettings(uv_size=512, face_model="none"), shard_size=8)
    )
    plan(dataset, photos)
    with pytest.raises(UsageError, match=r"was begun with uv_size 512 .*, shard_size 8 \(asked for: 7\)"):
        Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=7))  # photos are planned for shards of eight
    assert build(tmp_path / "ds", photos).done == 4
    with pytest.raises(UsageError, match="was begun with uv_size 1024"), dataset.locked():
        pass


def test_a_preview_counts_as_the_plan_does_and_writes_nothing(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 20)
    (photos / "gone.jpg").symlink_to("nowhere")
    dataset = Dataset.at(tmp_path / "ds", DatasetConfig(shard_size=8))
    added = dataset.preview([str(photos)], "", lambda _: (), lambda _: None)
    assert (added.photos, added.copies, added.unreadable, added.known) == (21, 2, 1, 0)
    assert not (tmp_path / "ds").exists()
    build(tmp_path / "ds", photos)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ds").rglob("*")}
    dataset = Dataset.at(tmp_path / "ds", DatasetConfig(shard_size=8))
    added = dataset.preview([str(photos)], "", lambda _: (), lambda _: None)
    assert (added.photos, added.copies, added.known) == (0, 0, 23)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ds").rglob("*")} == before


def test_photo_that_was_changed_after_planning_fails(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 5)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "ds", photos, limit=2)
    (photos / "004.jpg").write_text("edited")
    build(tmp_path / "ds")
    (row,) = (r for r in rows_of(tmp_path / "ds") if r["item"] == 4)
    assert row["reason"] == "The photo is not the one that was planned: it has been changed since."


def test_failures_have_a_reason_and_defects_stop_nothing(tmp_path: Path) -> None:
    words = {"a.jpg": "bug", "b.jpg": "memory", "c.jpg": "text", "d.jpg": "fine"}
    build(tmp_path / "ds", write_photos(tmp_path / "in", words))
    assert [r["reason"] for r in rows_of(tmp_path / "ds")] == [
        "Unexpected KeyError: 'nose'",
        "There is not enough memory for this photo.",
        "c.jpg is not a picture that can be read.",
        None,
    ]


def test_failed_photos_are_tried_again_on_request(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 30)
    build(tmp_path / "calm", photos)
    build(tmp_path / "ds", photos)
    dataset = Dataset.open(tmp_path / "ds")
    assert dataset.retry_failed() == 3
    assert build(tmp_path / "ds").failed == 3
    assert content(tmp_path / "ds") == content(tmp_path / "calm")


def test_a_full_disk_stops_the_build_and_spoils_no_photo(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "fine", "b.jpg": "full", "c.jpg": "fine too"})
    with pytest.raises(OutputError, match="No space left on device"):
        build(tmp_path / "ds", photos)
    counts = Dataset.open(tmp_path / "ds").count()
    assert (counts.done, counts.failed, counts.pending) == (1, 0, 2)


def test_a_shard_that_cannot_be_written_stops_the_build_and_resumes(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 30)
    build(tmp_path / "calm", photos)
    dataset = Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8))
    (tmp_path / "ds/shards/00001.tar").mkdir(parents=True)
    plan(dataset, photos)
    with pytest.raises(OutputError, match=r"00001\.tar cannot be written"):
        dataset.run(Loop(dataset), lambda *_: None)
    (tmp_path / "ds/shards/00001.tar").rmdir()
    build(tmp_path / "ds")
    assert content(tmp_path / "ds") == content(tmp_path / "calm")


def test_the_second_build_of_a_folder_is_refused(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "ds", DatasetConfig())
    with dataset.locked():
        assert is_building(dataset.folder)
        with pytest.raises(UsageError, match="is being built by another process"), dataset.locked():
            pass
    assert not is_building(dataset.folder)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "in", {"a.jpg": "one"}), shard_size=500)
    with pytest.raises(
        UsageError, match=r"was begun with uv_size 1024 \(asked for: 512\), shard_size 500 \(asked for: 7\)"
    ):
        Dataset.create(tmp_path / "ds", DatasetConfig(CompleteSettings(uv_size=512, face_model="none"), shard_size=7))


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no dataset"):
        Dataset.create(tmp_path, DatasetConfig())
    (tmp_path / "config.json").write_text('{"kind": "other"}')
    with pytest.raises(UsageError, match=r"config\.json is not of ostec dataset build"):
        Dataset.open(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(AssetError, match=r"config\.json is damaged"):
        Dataset.open(tmp_path)
    with pytest.raises(UsageError, match="holds no dataset"):
        Dataset.open(tmp_path / "nowhere")


def test_a_dataset_whose_state_is_lost_is_not_planned_over(tmp_path: Path) -> None:
    build(tmp_path / "ds", many_photos(tmp_path / "in", 10))
    shutil.rmtree(tmp_path / "ds/state")
    with pytest.raises(AssetError, match="takes no further photos"):
        build(tmp_path / "ds", tmp_path / "in")


def test_a_dataset_that_could_not_be_begun_is_begun_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise OutputError(f"{path} cannot be written (No space left on device).")

    photos = many_photos(tmp_path / "in", 9)
    with monkeypatch.context() as patch:
        patch.setattr("ostec.dataset.files.write_atomic", full)
        with pytest.raises(OutputError, match=r"config\.json cannot be written"):
            build(tmp_path / "ds", photos)
    assert list((tmp_path / "ds").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr("ostec.dataset.store.make_folder", full)
        with pytest.raises(OutputError, match="cannot be written"):
            build(tmp_path / "ds", photos)
    assert build(tmp_path / "ds", photos).pending == 0


def test_whoever_waited_for_the_lock_knows_what_was_planned_meanwhile(tmp_path: Path) -> None:
    first = Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8))
    build(tmp_path / "ds", many_photos(tmp_path / "in", 20))
    before = content(tmp_path / "ds")
    assert first.plan.shards == 0
    with first.locked():
        plan(first, write_photos(tmp_path / "more", {"x.jpg": "new"}))
        assert [item.number for item in first.plan][-1] == 24  # after the three shards that are there
    after = content(tmp_path / "ds")
    assert [name for name in before if before[name] != after[name]] == ["licences.json"]


def test_asking_whether_a_build_runs_writes_nothing(tmp_path: Path) -> None:
    build(tmp_path / "ds", many_photos(tmp_path / "in", 5))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ds").rglob("*")}
    assert not is_building(tmp_path / "ds")
    assert Dataset.open(tmp_path / "ds").count().done == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ds").rglob("*")} == before


def test_of_two_builds_that_begin_a_dataset_one_decides(tmp_path: Path) -> None:
    (tmp_path / "ds").mkdir()
    with alone(tmp_path / "ds"), pytest.raises(UsageError, match="is being built by another process"):
        Dataset.create(tmp_path / "ds", DatasetConfig(shard_size=8))
    assert not (tmp_path / "ds/config.json").exists()


def test_folders_that_lead_out_of_the_dataset_are_refused(tmp_path: Path) -> None:
    photos = many_photos(tmp_path / "in", 9)
    build(tmp_path / "ds", photos)
    for name in ("shards", "state/staged"):
        (tmp_path / "ds" / name).rename(tmp_path / "elsewhere")
        (tmp_path / "ds" / name).symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/00099").mkdir()
        with pytest.raises(UsageError, match=f"{name} is a link to .*elsewhere; a dataset's folders must lie in it"):
            build(tmp_path / "ds")
        (tmp_path / "elsewhere/00099").rmdir()
        (tmp_path / "ds" / name).unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "ds" / name)
    (tmp_path / "link").symlink_to(tmp_path / "ds")
    assert build(tmp_path / "link").pending == 0


@pytest.mark.parametrize("how", ["changed", "shorter"])
def test_a_photo_that_a_power_cut_damaged_is_done_again(tmp_path: Path, how: str) -> None:
    photos = many_photos(tmp_path / "in", 30)
    build(tmp_path / "calm", photos)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "ds", photos, limit=6)
    staged = tmp_path / "ds/state/staged/00000/2"
    data = staged.read_bytes()
    staged.write_bytes(data[:-1] if how == "shorter" else data[:-600] + bytes(600))
    if how == "changed":
        with pytest.raises(AssetError, match=r"staged/00000/2 is damaged .* It was removed; ostec dataset resume does"):
            build(tmp_path / "ds")
    assert build(tmp_path / "ds").pending == 0
    assert content(tmp_path / "ds") == content(tmp_path / "calm")


def test_settings_of_others_are_read_with_care(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "ds", DatasetConfig())
    path = tmp_path / "ds/config.json"
    values = json.loads(path.read_text())
    for name, value in (("shard_size", 0), ("threads", -1), ("shard_size", float("inf")), ("settings", [])):
        path.write_text(json.dumps({**values, name: value}))
        with pytest.raises(AssetError, match=r"config\.json is damaged"):
            Dataset.open(tmp_path / "ds")
    path.write_text("[" * 100000)
    with pytest.raises(AssetError, match=r"config\.json is damaged"):
        Dataset.open(tmp_path / "ds")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(AssetError, match=r"config\.json is damaged .*no plain file"):
        Dataset.open(tmp_path / "ds")
