"""Pages are well-formed, need no network, and say everything that the record says."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from ostec.core.errors import OutputError
from ostec.core.types import TexturedFace
from ostec.export import mesh, page
from ostec.export.record import Failure, write_failures, write_record

NAME = 'Gräfin & "Söhne" #1 <b>'
RECORD = {
    "source": f"{NAME}.jpg",
    "pose_deg": [4.0, -12.0, 1.5],
    "mode": "soft",
    "mode_reason": "the yaw of -12 degrees is within 30",
    "warnings": ["Hair covers <much>."],
    "settings": {"seed": 7, "frontalize": True, "generator": None, "uv_size": 256},
    "versions": {"ostec": "1.2.3"},
    "weights": {"facemesh.safetensors": "ab" * 32},
    "files": [f"{NAME}.png", f"{NAME}.obj", f"{NAME}_frontal.png", f"{NAME}.html"],
}
VOID = {"meta", "img", "br", "link", "input"}
SILENT = {"style", "script"}


class Page(HTMLParser):
    """What a browser would see: text, links and pictures; fails on tags that do not nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text: list[str] = []
        self.attributes: dict[str, list[str]] = {"src": [], "href": []}
        self.badges: list[tuple[str, str | None]] = []
        """Text and tooltip."""
        self._open: list[str] = []
        self._badge: str | None = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in self.attributes:
                self.attributes[key].append(value or "")
        if ("class", "badge") in attrs:
            self._badge = dict(attrs)["title"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not SILENT.intersection(self._open):
            self.text.append(data)
        if self._badge is not None:
            self.badges.append((data, self._badge))
            self._badge = None

    @property
    def words(self) -> str:
        return " ".join(self.text)


@pytest.fixture
def written(tmp_path: Path, result: TexturedFace) -> Page:
    path = page.write_page(tmp_path, NAME, result, RECORD)
    assert path == tmp_path / f"{NAME}.html"
    return Page(path)


def test_page_says_what_the_record_says(written: Page) -> None:
    for text in (NAME, "the yaw of -12 degrees is within 30", "-12\N{DEGREE SIGN}", "Hair covers <much>.", "1.2.3"):
        assert text in written.words
    for text in ("seed", "7", "yes", "none", "ab" * 32):
        assert text in written.text


def test_page_shows_every_stage_with_its_title(written: Page) -> None:
    for title in (
        "Photo",
        "Seen & <trusted>",
        "Where the texels came from",
        "Frontal portrait",
        "UV texture, 256 x 256",
    ):
        assert title in written.text
    assert {"photo", "prior", "padding"} <= set(written.text)
    assert "mirrored" not in written.text  # a legend of what occurs, not of what might
    sizes = []
    for source in written.attributes["src"]:
        picture = Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))
        picture.load()
        sizes.append(picture.size)
    assert sizes == [(256, 256), (100, 200), (256, 256), (256, 256), (48, 64)]


def test_page_needs_no_network(written: Page, tmp_path: Path) -> None:
    assert all(source.startswith("data:image/") for source in written.attributes["src"])
    files = [unquote(link) for link in written.attributes["href"]]
    assert files == ["./index.html", f"./{NAME}.png", f"./{NAME}.obj", f"./{NAME}_frontal.png"]
    text = (tmp_path / f"{NAME}.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<link|@import|url\(|fetch\(|XMLHttp|WebSocket|<script[^>]* src|srcset", text)


def test_texture_and_provenance_are_in_the_page_once_for_grid_and_viewer(written: Page, tmp_path: Path) -> None:
    text = (tmp_path / f"{NAME}.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'data-picture="(\w+)"', text)) == ["face", "origins"]
    assert text.count("data:image/") == len(written.attributes["src"]) == 5


def test_viewer_shows_the_texture_nearly_as_it_is(tmp_path: Path, result: TexturedFace) -> None:
    text = page.write_page(tmp_path, "a", result, RECORD).read_text(encoding="utf-8")
    (source,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]* data-picture="face"', text)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))), np.float32) / 255
    assert np.abs(shown - result.completed.colour).mean() < 0.01


def test_embedded_pictures_are_bounded(tmp_path: Path, result: TexturedFace) -> None:
    huge = np.zeros((1500, 3000, 3), np.float32)
    result.stages["Photo"] = huge
    shown = Page(page.write_page(tmp_path, "a", result, {}))
    sizes = [
        Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))).size
        for source in shown.attributes["src"]
    ]
    assert (560, 280) in sizes


def test_index_opens_every_finished_result(tmp_path: Path) -> None:
    write_record(tmp_path, NAME, RECORD)
    write_record(tmp_path, "b", {"files": ["b.png"], "mode": "hard"})
    (tmp_path / "half.json").write_text("{", encoding="utf-8")
    write_failures(tmp_path, [Failure("c <x>.jpg", "detect", "There is no face in c <x>.jpg.")])
    shown = Page(page.write_index(tmp_path))
    assert [unquote(link) for link in shown.attributes["href"]] == [f"./{NAME}.html", "./b.html"]
    assert [unquote(link) for link in shown.attributes["src"]] == [f"./{NAME}_frontal.png", "./b.png"]
    assert "2 faces, 1 that could not be done" in shown.words
    assert shown.badges == [("1 warning", "Hair covers <much>.")]
    at = shown.text.index("c <x>.jpg")
    assert [text for text in shown.text[at:] if text.strip()][:3] == [
        *("c <x>.jpg", "detect"),
        "There is no face in c <x>.jpg.",
    ]
    assert "half" not in shown.words


def test_marks_that_turn_the_text_and_bytes_that_are_no_text_are_escaped(tmp_path: Path, result: TexturedFace) -> None:
    name = "a\u202egnp\udcff"
    record = {"source": name, "warnings": [f"{name} is dark."], "files": [f"{name}.png"]}
    write_record(tmp_path, name, record)
    write_failures(tmp_path, [Failure(name, "read", f"{name} is damaged.")])
    result.stages["\u2066Photo"] = result.completed.colour
    for path in (page.write_page(tmp_path, name, result, record), page.write_index(tmp_path)):
        text = path.read_text(encoding="utf-8")
        assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
        assert r"a\u202egnp\udcff is dark." in text
    assert r"a\u202egnp\udcff is damaged." in text
    assert "./a%E2%80%AEgnp%FF.png" in (tmp_path / f"{name}.html").read_text(
        encoding="utf-8"
    )  # links keep the name's bytes


def test_index_shows_thumbnails_before_anything_else(tmp_path: Path) -> None:
    written = page.write_thumbnail(tmp_path, "a", np.zeros((20, 10, 3), np.float32))
    with Image.open(written) as picture:
        assert (picture.format, picture.size) == ("WEBP", (10, 20))
    for name, files in (("a", ["_frontal.png", "_thumbnail.webp"]), ("b", ["_frontal.png"]), ("c", [])):
        write_record(tmp_path, name, {"files": [f"{name}.png", *(name + ending for ending in files)]})
    sources = Page(page.write_index(tmp_path)).attributes["src"]
    assert sources == ["./a_thumbnail.webp", "./b_frontal.png", "./c.png"]


def test_index_of_an_empty_folder_is_a_page(tmp_path: Path) -> None:
    assert "0 faces" in Page(page.write_index(tmp_path)).words


def test_turntable_moves_and_never_ends(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 48, dtype=np.float32)
    frame = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:32, None], np.float32(0.5)), axis=2)
    frames = np.stack([np.roll(frame, 8 * step, axis=1) for step in range(6)])
    path = page.write_turntable(tmp_path, "a b", frames, fps=10)
    assert path == tmp_path / "a b_turntable.webp"
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.size) == (6, (48, 32))
        assert animation.info["loop"] == 0
        for step in range(6):
            animation.seek(step)
            shown = np.asarray(animation.convert("RGB"), np.float32) / 255
            assert np.abs(shown - frames[step]).mean() < 0.04
            assert animation.info["duration"] == 100
    assert page.write_turntable(tmp_path, "again", frames, fps=10).read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="at least one frame"):
        page.write_turntable(tmp_path, "c", frames[:0])


def test_pages_that_cannot_be_written_are_one_sentence(tmp_path: Path, result: TexturedFace) -> None:
    with pytest.raises(OutputError, match=r"a\.html cannot be written"):
        page.write_page(tmp_path / "absent", "a", result, {})
    with pytest.raises(OutputError, match=r"a\.glb cannot be written"):
        mesh.write_glb(tmp_path / "absent", "a", result)
