"""A run over many photos: what is done, skipped, added to, refused, and what is said about it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ostec.app.photos import batch
from ostec.app.photos.results import HEAD_ENDINGS, PENDING
from ostec.core.errors import AssetError, OutputError


def _failures(folder: str = "out") -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(folder, "failures.jsonl").read_text(encoding="utf-8").splitlines()]


def _runs(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "run.jsonl").read_text(encoding="utf-8").splitlines()]


def _content(folder: str = "out") -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(folder).iterdir() if p.name != "run.jsonl"}


def test_photos_are_done_and_then_skipped(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok", "sub/ü mlaut.png": "ok too"})
    said = ostec("complete", "in", "--save-dir", "out/deep")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].startswith("1/2 a.jpg done in 0.")
    assert lines[1].startswith("2/2 ü mlaut.png done in ")
    assert lines[2:] == ["2 done, 0 skipped, 0 failed; open out/deep/index.html."]
    assert said.err == ""
    endings = (".png", ".obj", ".mtl", ".glb", ".npz", ".html", ".json", "_provenance.png", "_thumbnail.webp")
    names = {name + ending for name in ("a", "ü mlaut") for ending in endings}
    assert {p.name for p in Path("out/deep").iterdir()} == names | {"index.html", "run.jsonl", "failures.jsonl"}
    assert Path("out/deep/failures.jsonl").read_bytes() == b""
    assert "ü mlaut" in Path("out/deep/index.html").read_text(encoding="utf-8")
    assert calls() == ["complete a.jpg", "complete ü mlaut.png"]

    before = _content("out/deep")
    said = ostec("complete", "in", "--save-dir", "out/deep")
    assert (said.code, said.out) == (0, "0 done, 2 skipped, 0 failed; open out/deep/index.html.\n")
    assert calls() == []
    assert _content("out/deep") == before


def test_photos_are_completed_side_by_side(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok", "b.jpg": "noface", "c.jpg": "ok", "d.jpg": "ok"})
    ostec("complete", "in/a.jpg", "--save-dir", "out")
    ostec("complete", "in/c.jpg", "in/d.jpg", "--save-dir", "alone")
    calls()
    said = ostec("complete", "in", "--save-dir", "out", "--batch", "2")
    assert calls() == ["together 2", "complete b.jpg", "complete c.jpg", "complete d.jpg"]
    assert said.err == "ostec: error: in/b.jpg failed (detect): No face was found.\n"
    assert [line.rpartition(" done in")[0] for line in said.out.splitlines()[:-1]] == ["3/4 c.jpg", "4/4 d.jpg"]
    assert said.out.splitlines()[-1].startswith("2 done, 1 skipped, 1 failed; ")
    for name in ("c.json", "d.glb"):
        assert Path("out", name).read_bytes() == Path("alone", name).read_bytes()
    assert ostec("complete", "in", "--save-dir", "out", "--batch", "0").code == 2


def test_a_run_that_cannot_load_its_networks_leaves_no_folder_of_its_own(
    ostec: Any, photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> None:
        raise AssetError("prior.safetensors is damaged.")

    monkeypatch.setattr(batch.CompleteRun, "load", damaged)
    photos({"a.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert (said.code, said.err) == (2, "ostec: error: prior.safetensors is damaged.\n")
    assert not Path("out").exists()
    Path("mine").mkdir()
    assert ostec("complete", "in", "--save-dir", "mine").code == 2
    assert list(Path("mine").iterdir()) == []


def test_run_record_says_when_where_and_how_long(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    (entry,) = _runs()
    assert entry["name"] == "a"
    assert entry["file"] == "in/a.jpg"
    assert entry["device"] == "cpu"
    assert entry["seconds"] == {"detect": 0.1}
    assert {"started", "host", "pid", "total_s", "peak_memory_mb"} <= set(entry)


def test_one_bad_photo_does_not_stop_the_others(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "text", "b.jpg": "noface", "c.jpg": "bug", "d.jpg": "memory", "e.jpg": "locked", "f.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 1
    assert _failures() == [
        {"file": "in/a.jpg", "stage": "read", "reason": "a.jpg is not a picture that can be read."},
        {"file": "in/b.jpg", "stage": "detect", "reason": "No face was found."},
        {"file": "in/c.jpg", "stage": "detect", "reason": "Unexpected KeyError: 'nose'"},
        {"file": "in/d.jpg", "stage": "detect", "reason": "There is not enough memory for this photo."},
        {"file": "in/e.jpg", "stage": "export", "reason": "e.glb cannot be written (Permission denied)."},
    ]
    assert said.err.splitlines() == [
        f"ostec: error: {f['file']} failed ({f['stage']}): {f['reason']}" for f in _failures()
    ]
    assert said.out.splitlines()[-1] == (
        "1 done, 0 skipped, 5 failed; open out/index.html; the reasons are in out/failures.jsonl."
    )
    assert Path("out/f.json").exists()


def test_failures_are_those_of_the_last_run_and_are_tried_again(ostec: Any, photos: Any, calls: Any) -> None:
    folder = photos({"a.jpg": "noface", "b.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    calls()
    (folder / "a.jpg").write_text("ok now")
    assert ostec("complete", "in", "--save-dir", "out").code == 0
    assert calls() == ["complete a.jpg"]
    assert _failures() == []


def test_traceback_of_a_defect_only_on_request(ostec: Any, photos: Any) -> None:
    photos({"c.jpg": "bug"})
    assert "Traceback" not in ostec("complete", "in", "--save-dir", "out").err
    said = ostec("complete", "in", "--save-dir", "out", "-v")
    assert "Traceback" in said.err
    assert "in _complete" in said.err


def test_quiet_says_nothing_but_warnings_and_errors(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "ok", "b.jpg": "noface", "c.jpg": "warn=No generator."})
    said = ostec("complete", "in", "--save-dir", "out", "-q")
    assert said.out == ""
    assert said.err == ("ostec: error: in/b.jpg failed (detect): No face was found.\nostec: warning: No generator.\n")


def test_each_warning_is_shown_once(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "warn=One.", "b.jpg": "warn=One.\nwarn=Two.", "c.jpg": "warn=Two."})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.err == "ostec: warning: One.\nostec: warning: Two.\n"


def test_other_settings_are_told_and_the_result_kept(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok", "b.jpg": "ok b"})
    ostec("complete", "in", "--save-dir", "out")
    before, _ = _content(), calls()
    said = ostec("complete", "in", "--save-dir", "out", "--uv-size", "512")
    differs = "other settings (uv_size 1024, asked for 512)"
    assert said.err == f"ostec: Made before with {differs} and kept: 2; --overwrite redoes them.\n"
    assert said.code == 0
    assert calls() == []
    assert _content() == before
    assert (
        f"a.jpg: made with {differs}, kept; --overwrite redoes it."
        in ostec("complete", "in", "--save-dir", "out", "--uv-size=512", "-v").err
    )
    calls()
    assert ostec("complete", "in", "--save-dir", "out", "--uv-size", "512", "--overwrite").err == ""
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    assert json.loads(Path("out/a.json").read_text())["settings"]["uv_size"] == 512


def test_redone_without_frontal_portrait_and_turntable_leaves_no_old_ones(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "one"})
    ostec("complete", "in", "--save-dir", "out", "-f", "--turntable")
    Path("out/b_frontal.png").touch()
    assert ostec("complete", "in", "--save-dir", "out", "--overwrite").code == 0
    left = {path.name for path in Path("out").iterdir()}
    assert not {"a_frontal.png", "a_turntable.webp"} & left
    assert {"a.png", "b_frontal.png"} <= left


def test_redone_without_a_head_leaves_no_old_one(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "one"})
    assert ostec("complete", "in", "--save-dir", "out", "--face-model", "ict").code == 0
    heads = {f"a{ending}" for ending in HEAD_ENDINGS}
    assert heads <= {path.name for path in Path("out").iterdir()}
    Path("out/b_head.glb").touch()  # somebody else's
    said = ostec("complete", "in", "--save-dir", "out")
    differs = "other settings (face_model ict, asked for head)"
    assert said.err == f"ostec: Made before with {differs} and kept: 1; --overwrite redoes them.\n"
    assert heads <= {path.name for path in Path("out").iterdir()}
    assert ostec("complete", "in", "--save-dir", "out", "--overwrite").code == 0
    left = {path.name for path in Path("out").iterdir()}
    assert not heads & left
    assert {"a.png", "a.json", "b_head.glb"} <= left


def test_missing_frontal_portrait_and_turntable_are_added_once(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    calls()
    said = ostec("complete", "in", "--save-dir", "out", "-f")
    assert said.err == ""
    assert said.out.startswith("1/1 a.jpg added to in 0.")
    assert said.out.endswith("0 done, 1 added to, 0 skipped, 0 failed; open out/index.html.\n")
    ostec("complete", "in", "--save-dir", "out", "-f", "--turntable")
    ostec("complete", "in", "--save-dir", "out", "--turntable")
    assert calls() == ["extend a 1 0", "extend a 0 1"]
    # Iterations of a portrait that is not asked for do not matter.
    assert ostec("complete", "in", "--save-dir", "out", "--iterations-frontalize", "1").err == ""


def test_turntable_of_an_earlier_version_counts_and_goes_when_redone(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out", "--turntable")
    Path("out/a_turntable.webp").rename("out/a_turntable.gif")
    record = Path("out/a.json")
    record.write_text(record.read_text().replace("_turntable.webp", "_turntable.gif"))
    calls()
    ostec("complete", "in", "--save-dir", "out", "--turntable")
    assert calls() == []
    ostec("complete", "in", "--save-dir", "out", "--turntable", "--overwrite")
    assert calls() == ["complete a.jpg"]
    assert [path.name for path in Path("out").glob("*_turntable*")] == ["a_turntable.webp"]


@pytest.mark.parametrize("damage", ["missing file", "empty record", "no record"])
def test_damaged_results_are_redone(ostec: Any, photos: Any, calls: Any, damage: str) -> None:
    photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    before, _ = _content(), calls()
    if damage == "missing file":
        Path("out/a.glb").unlink()
    elif damage == "empty record":
        Path("out/a.json").write_bytes(b"")
    else:
        Path("out/a.json").unlink()
    assert ostec("complete", "in", "--save-dir", "out").code == 0
    assert calls() == ["complete a.jpg"]
    assert _content() == before


def test_a_name_that_belongs_to_another_photo_is_not_taken(ostec: Any, photos: Any, calls: Any) -> None:
    folder = photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    before, _ = _content(), calls()
    (folder / "a.jpg").write_text("edited")
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 1
    assert said.err == (
        "ostec: error: in/a.jpg failed (plan): a.json belongs to another photo, or this one has been edited since; "
        "redo it with --overwrite, or choose another --save-dir.\n"
    )
    assert calls() == []
    assert {k: v for k, v in _content().items() if k.startswith("a")} == {
        k: v for k, v in before.items() if k.startswith("a")
    }
    assert ostec("complete", "in", "--save-dir", "out", "--overwrite").code == 0


def test_a_json_file_of_somebody_else_is_not_replaced(ostec: Any, photos: Any) -> None:
    folder = photos({"a.jpg": "ok", "a.json": '{"shapes": []}'})
    said = ostec("complete", "in", "--save-dir", "in")
    assert said.code == 1
    assert "a.json is in the way, which no earlier run has made" in said.err
    assert (folder / "a.json").read_text() == '{"shapes": []}'


def test_all_faces_are_named_alike_and_found_again(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "faces=3", "b.jpg": "faces=1"})
    said = ostec("complete", "in", "--save-dir", "out", "--faces", "all")
    assert re.search(r"a\.jpg done in 0\.\d s, 3 faces", said.out)
    assert sorted(p.name for p in Path("out").glob("*.obj")) == [
        "a_face1.obj", "a_face2.obj", "a_face3.obj", "b_face1.obj"
    ]  # fmt: skip
    assert json.loads(Path("out/a_face2.json").read_text())["faces"] == {"index": 2, "count": 3}
    assert [entry["name"] for entry in _runs()] == ["a_face1", "a_face2", "a_face3", "b_face1"]
    calls()
    assert ostec("complete", "in", "--save-dir", "out", "--faces", "all").out.startswith("0 done, 2 skipped")
    assert calls() == []
    Path("out/a_face3.json").unlink()
    ostec("complete", "in", "--save-dir", "out", "--faces", "all")
    assert calls() == ["complete a.jpg"]
    Path("out/a_face2_frontal.png").touch()
    ostec("complete", "in", "--save-dir", "out", "--faces", "all", "-f")
    assert calls() == ["extend a_face1 1 0", "extend a_face2 1 0", "extend a_face3 1 0", "extend b_face1 1 0"]


def test_dry_run_tells_and_writes_nothing(ostec: Any, photos: Any, calls: Any, tmp_path: Path) -> None:
    folder = photos({"a.jpg": "ok", "a.png": "ok 2", "b.jpg": "ok 3", "c.jpg": "ok 4"})
    said = ostec("complete", "in", "--save-dir", "out", "--dry-run")
    assert said.code == 0
    assert said.out.splitlines() == [
        "in/a.jpg -> a would be done",
        "in/a.png -> a_png would be done",
        "in/b.jpg -> b would be done",
        "in/c.jpg -> c would be done",
        "4 would be done.",
    ]
    assert not Path("out").exists()
    ostec("complete", "in/a.jpg", "in/b.jpg", "in/c.jpg", "--save-dir", "out")
    (folder / "c.jpg").write_text("edited")
    before, _ = _content(), calls()
    said = ostec("complete", "in", "--save-dir", "out", "--dry-run", "--uv-size", "512")
    assert said.out.splitlines() == [
        "in/a.jpg -> a would be skipped, made with other settings (uv_size 1024, asked for 512); --overwrite redoes it",
        "in/a.png -> a_png would be done",
        "in/b.jpg -> b would be skipped, made with other settings (uv_size 1024, asked for 512); --overwrite redoes it",
        "in/c.jpg -> c would fail (c.json belongs to another photo, or this one has been edited since)",
        "1 would be done, 2 would be skipped, 1 would fail.",
    ]
    assert "in/b.jpg -> b would be added to" in ostec("complete", "in", "--save-dir", "out", "--dry-run", "-f").out
    assert "in/b.jpg -> b_face1, ... would be" in ostec("complete", "in", "--save-dir", "out", "--dry-run",
                                                        "--faces", "all").out  # fmt: skip
    assert calls() == []
    assert _content() == before


def test_paper_command_does_not_search_below_the_first_level(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "ok", "sub/b.jpg": "ok"})
    said = ostec("--source_dir", "in", "--save_dir", "out", "-p", "-i", "0", paper=True)
    assert said.code == 0
    assert said.err.startswith("ostec: warning: -p saves nothing: no view is projected")
    assert said.err.count("\n") == 1
    assert sorted(p.stem for p in Path("out").glob("*.obj")) == ["a"]
    assert json.loads(Path("out/a.json").read_text())["settings"]["mode"] == "hard"


def test_source_and_result_folder_the_same(ostec: Any, photos: Any, calls: Any) -> None:
    folder = photos({"a.jpg": "ok", "b.jpg": "ok b"})
    assert ostec("complete", "in", "--save-dir", "in", "-f").code == 0
    calls()
    said = ostec("complete", "in", "--save-dir", "in", "-f")
    assert said.code == 0
    assert said.err == "ostec: Left out as results of earlier runs: 8.\n"
    assert said.out.startswith("0 done, 2 skipped")
    assert calls() == []
    assert (folder / "a.jpg").read_text() == "ok"
    (folder / "c.png").write_text("a source that its own result would replace")
    before = _content("in")
    said = ostec("complete", "in", "--save-dir", "in")
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        "ostec: error: The results of c.png would replace the source in/c.png; choose another --save-dir."
    )
    assert _content("in") == before


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("in/a.jpg", "in/a.jpg is a file, not a folder."),
        ("in/a.jpg/out", "cannot be made (Not a directory)."),
        ("/proc/ostec", "The folder /proc/ostec cannot be made (No such file or directory)."),
    ],
)
def test_nothing_starts_where_results_cannot_be_written(
    ostec: Any, photos: Any, calls: Any, folder: str, sentence: str
) -> None:
    photos({"a.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", folder)
    assert said.code == 2
    assert said.err.startswith("ostec: error: ")
    assert sentence in said.err
    assert calls() == []


def test_a_folder_that_takes_nothing_is_not_left_behind(
    ostec: Any, photos: Any, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("There is no room.")

    monkeypatch.setattr(batch, "write_atomic", full)
    photos({"a.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert (said.code, said.err) == (2, "ostec: error: The folder out cannot be written to (There is no room.).\n")
    assert not Path("out").exists()
    assert calls() == []


def test_nothing_starts_without_photos_or_device(ostec: Any, photos: Any, tmp_path: Path) -> None:
    photos({"notes.txt": "no photo"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert (said.code, said.err) == (2, "ostec: error: No photo was found in in.\n")
    photos({"a.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out", "--device", "cuda")
    assert (said.code, said.err) == (2, "ostec: error: CUDA is not available on this machine.\n")


def test_a_photo_that_goes_missing_is_a_failure(ostec: Any, photos: Any) -> None:
    folder = photos({"a.jpg": "ok"})
    (folder / "b.jpg").symlink_to("gone")
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 1
    assert _failures() == [{"file": "in/b.jpg", "stage": "read", "reason": "in/b.jpg does not exist."}]


def test_no_mark_is_left_after_a_run(ostec: Any, photos: Any) -> None:
    photos({"a.jpg": "ok", "b.jpg": "noface"})
    ostec("complete", "in", "--save-dir", "out")
    assert not list(Path("out").glob(PENDING.format(name="*")))
    # The mark of a run that was killed between its last file and taking it away:
    Path("out/.a.ostec-pending").write_text('{"names": ["a"]}')
    ostec("complete", "in", "--save-dir", "out")
    assert not list(Path("out").glob(PENDING.format(name="*")))
