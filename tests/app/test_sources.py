"""Which files are photos, and what their results are called."""

import os
import unicodedata
from pathlib import Path

import pytest

from ostec.app.console import shown
from ostec.app.photos.results import RESULT_ENDINGS
from ostec.app.photos.sources import assign_names, comparable, find_photos, refuse_replacing
from ostec.core.errors import UsageError
from ostec.export.record import write_record


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def _found(*sources: str, recursive: bool = True) -> list[str]:
    return [str(path) for path in find_photos(sources, recursive)]


def _names(*photos: str) -> list[str]:
    return [photo.name for photo in assign_names([Path(p) for p in photos])]


def test_folders_are_searched_sorted_and_without_what_is_hidden_or_no_picture(here: Path) -> None:
    _touch(
        "in/b.JPG", "in/sub/deep/a.webp", "in/notes.txt", "in/._b.jpg", "in/.cache/x.jpg", "in/c.heic", "in/sub/z.png"
    )
    assert _found("in") == ["in/b.JPG", "in/c.heic", "in/sub/deep/a.webp", "in/sub/z.png"]
    assert _found("in", recursive=False) == ["in/b.JPG", "in/c.heic"]


def test_files_that_are_named_are_taken_whatever_they_are_called(here: Path) -> None:
    _touch("photo", "notes.txt")
    assert _found("photo", "notes.txt") == ["notes.txt", "photo"]


def test_a_file_named_twice_or_found_again_in_its_folder_counts_once(here: Path) -> None:
    _touch("in/a.jpg")
    Path("link").symlink_to("in")
    assert _found("in/a.jpg", "./in/../in/a.jpg", "in", "in/*.jpg", "link", str(here / "in/a.jpg")) == ["in/a.jpg"]


def test_globs_and_file_names_that_look_like_globs(here: Path) -> None:
    _touch("in/a1.jpg", "in/a2.jpg", "in/b.jpg", "in/a3.txt", "in/x/a9.jpg", "in/[ab].jpg", "in/*.png")
    assert _found("in/a*") == ["in/a1.jpg", "in/a2.jpg"]
    assert _found("in/**/a?.jpg") == ["in/a1.jpg", "in/a2.jpg", "in/x/a9.jpg"]
    assert _found("in/[ab].jpg") == ["in/[ab].jpg"]
    assert _found("in/[a]*.jpg") == ["in/a1.jpg", "in/a2.jpg"]
    assert _found("in/*.png") == ["in/*.png"]


def test_links_to_folders_are_followed_and_loops_end(here: Path) -> None:
    _touch("in/a.jpg", "other/b.jpg")
    Path("in/up").symlink_to("..")
    Path("in/gone.jpg").symlink_to("nowhere")
    assert _found("in") == ["in/a.jpg", "in/gone.jpg", "in/up/other/b.jpg"]


def test_unusual_names_are_found(here: Path) -> None:
    names = ["in/ü b.jpg", unicodedata.normalize("NFD", "in/ö.jpg"), "in/-x.jpg", "in/日本.jpg", "in/new\nline.jpg"]
    names.append(os.fsdecode(b"in/caf\xe9.jpg"))
    _touch(*names)
    assert sorted(_found("in")) == sorted(names)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "A source has an empty name."),
        ("no.jpg", "There is no file or folder no.jpg."),
        ("no/*.jpg", r"There is no file or folder no/\*.jpg."),
        ("empty", "No photo was found in empty."),
        ("link.jpg", "link.jpg is a link to nothing."),
        ("pipe.jpg", "pipe.jpg is neither file nor folder."),
        ("a.jpg/b.jpg", "There is no file or folder a.jpg/b.jpg."),
        ("x" * 300, "There is no file or folder xxx|xxx cannot be read"),
    ],
)
def test_sources_that_are_none(here: Path, source: str, sentence: str) -> None:
    Path("empty").mkdir()
    _touch("a.jpg")
    Path("link.jpg").symlink_to("nowhere")
    os.mkfifo("pipe.jpg")
    with pytest.raises(UsageError, match=sentence):
        find_photos([source])


def test_unreadable_folder(here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    _touch("in/a.jpg", "in/shut/b.jpg")
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    refused = "in"
    with pytest.raises(UsageError, match=r"The folder in cannot be read \(Permission denied\)\."):
        find_photos(["in"])
    refused = "shut"
    assert _found("in") == ["in/a.jpg"]
    assert "The folder in/shut cannot be read (Permission denied) and is left out." in caplog.text


def test_results_of_earlier_runs_are_no_sources(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _touch("in/a.jpg", "in/a.png", "in/a_frontal.png", "in/b.png", "in/b.obj")
    write_record(Path("in"), "a", {"files": ["a.png", "a_frontal.png", "a.json"]})
    Path("in/b.json").write_text('{"files": ["b.png"]}')  # somebody else's
    found = find_photos(["in", "in/a.png"])
    assert [p.name for p in found] == ["a.jpg", "b.png"]
    assert "Left out as results of earlier runs: 3." in caplog.text
    with pytest.raises(UsageError, match=r"No photo was found in in/a\.png \(results of earlier runs do not count\)"):
        find_photos(["in/a.png"])


def test_projected_views_of_earlier_runs_are_no_sources(here: Path) -> None:
    _touch("in/a.jpg", "in/a_views/left_render.png", "in/b_views/left_render.png", "in/c_views/x.png")
    write_record(Path("in"), "a", {"files": ["a_views/left_render.png", "a.json"]})
    Path("in/.b.ostec-pending").write_text('{"names": ["b"]}')  # a run that was killed
    found = find_photos(["in", "in/*_views/left*.png", "in/a_views/left_render.png"])
    assert [str(p) for p in found] == ["in/a.jpg", "in/c_views/x.png"]
    with pytest.raises(UsageError, match=r"results of earlier runs do not count"):
        find_photos(["in/a_views"])


@pytest.mark.parametrize(
    ("photos", "names"),
    [
        (["x/a.jpg", "x/b.png"], ["a", "b"]),
        (["x/a.jpg", "x/a.png", "y/a.jpg", "y/a.png"], ["a", "a_png", "a_jpg", "a_2"]),
        (["a/f", "b/f", "c/f"], ["f", "f_2", "f_3"]),
        (["A.jpg", "a.jpg"], ["A", "a_jpg"]),
        (["\u00fc.jpg", "u\u0308.jpg"], ["\u00fc", "u\u0308_jpg"]),
        (["straße.jpg", "STRASSE.jpg"], ["straße", "STRASSE_jpg"]),
        (["a.jpg", "a_frontal.jpg", "a_provenance.gif"], ["a", "a_frontal_jpg", "a_provenance_gif"]),
        (["index.jpg"], ["index_jpg"]),
        (["a.b.jpg", "a.b.c"], ["a.b", "a.b_c"]),
        (["a_png.jpg", "x/a.jpg", "x/a.png"], ["a_png", "a", "a_2"]),
        (["with space.jpg", "-dash.jpg", "[b]*.jpg"], ["with space", "-dash", "[b]*"]),
        (["new\nline.jpg", "caf\udce9.jpg"], ["new_line", "caf_"]),
    ],
)
def test_names(photos: list[str], names: list[str]) -> None:
    assert _names(*photos) == names


def test_results_of_different_photos_never_share_a_file() -> None:
    photos = [f"{folder}/{stem}{ending}.{ext}" for folder in "ab" for stem in ("x", "X", "x_2", "x_png")
              for ending in ("", "_frontal", "_turntable", "_thumbnail") for ext in ("jpg", "png")]  # fmt: skip
    outputs = [comparable(name + ending) for name in _names(*sorted(photos)) for ending in RESULT_ENDINGS]
    assert len(set(outputs)) == len(outputs)


def test_long_names_leave_room_for_the_endings() -> None:
    first, second = _names("ü" * 120 + ".jpg", "ü" * 121 + ".jpg")
    assert first != second
    assert all(len(f"{n}_face12_provenance.png".encode()) <= 255 for n in (first, second))


@pytest.mark.parametrize("link", [False, True])
def test_results_may_not_replace_sources(here: Path, link: bool) -> None:
    _touch("in/a.jpg", "in/b_frontal.png", "in/b.jpg")
    if link:
        Path("out").symlink_to("in")
    photos = assign_names(find_photos(["in"]))
    assert [p.name for p in photos] == ["a", "b", "b_frontal_png"]
    with pytest.raises(
        UsageError, match=r"results of b\.jpg would replace the source in/b_frontal\.png; choose another"
    ):
        refuse_replacing(photos, Path("out" if link else "in"), "largest", overwrite=True)


def test_results_may_not_replace_a_source_of_another_case_or_through_a_link(here: Path) -> None:
    _touch("in/a.jpg", "photos/B.PNG")
    Path("out").mkdir()
    os.link("photos/B.PNG", "out/B.PNG")  # what a file system that ignores case would answer for out/b.png
    photos = assign_names([Path("in/a.jpg"), Path("photos/B.PNG")])
    with pytest.raises(UsageError, match=r"would replace the source photos/B\.PNG"):
        refuse_replacing(photos, Path("out"), "largest", overwrite=True)


def test_results_of_every_face_may_not_replace_sources(here: Path) -> None:
    _touch("in/a.jpg", "in/a_face12.png")
    photos = assign_names(find_photos(["in"]))
    with pytest.raises(UsageError, match=r"would replace the source in/a_face12\.png"):
        refuse_replacing(photos, Path("in"), "all", overwrite=True)


def test_same_folder_is_fine_where_no_name_meets(here: Path) -> None:
    _touch("in/a.jpg", "in/b.jpeg")
    refuse_replacing(assign_names(find_photos(["in"])), Path("in"), "largest", overwrite=False)


def test_pictures_that_no_run_has_made_are_not_replaced_unasked(here: Path) -> None:
    _touch("in/a.jpg", "in/a.png")
    photos = assign_names([Path("in/a.jpg")])
    with pytest.raises(UsageError, match=r"would replace in/a\.png, which no earlier run has made; .*--overwrite"):
        refuse_replacing(photos, Path("in"), "largest", overwrite=False)
    refuse_replacing(photos, Path("in"), "largest", overwrite=True)
    _touch("in/a.npz")  # a result whose NAME.json was deleted to have it redone
    refuse_replacing(photos, Path("in"), "largest", overwrite=False)


def test_shown_escapes_what_no_terminal_can_show() -> None:
    assert shown(os.fsdecode(b"caf\xe9 \x1b[31m\n")) == r"caf\udce9 \x1b[31m\n"
    assert shown("ü 日本 [x]") == "ü 日本 [x]"
