"""Names of somebody else's, in photos, EXIF, records, tables and archives: text on every page, and nothing but text."""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ostec.app.dataset.look import DatasetStats
from ostec.app.web import html
from ostec.app.web.jobs import Job
from ostec.app.web.sessions import Sessions
from ostec.app.web.work import DatasetShown, Looked
from ostec.core.text import shown
from ostec.dataset.build import Dataset
from ostec.dataset.plan import DatasetConfig
from ostec.eval.report.compare import TOLERANCES, compare, text_of
from ostec.eval.report.page import write_compare_page, write_sheets, write_textures_page
from ostec.eval.report.record import Evaluation, Row, table, write_report
from ostec.export.page import update_page, write_index, write_page
from ostec.export.record import Failure, write_failures, write_record
from ostec.export.samples import write_samples
from ostec.io.images import write_png
from tests.dataset.toy import Loop, finish, plan
from tests.export.conftest import toy_result

EVIL = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "a\u202egnp.exe\u2066",
    "a\nb\r\n| c | d |",
    "--></style></iframe><!--",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;",
    "![x](https://example.org/x.png) [y](javascript:alert(1)) `z`",
    "a\\<b>\\[c](d)\udcff\x1b[31m\u2028",
    "..",
    "CON",
    "=cmd|' /C calc'!A1,\"b\"",
    "\u05e9\u05dc\u05d5\u05dd <i>\u200f\u0645\u0631",
    "long <u>" + "\u00e4" * 1000,
)
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\u2028]")


class Skeleton(HTMLParser):
    """A page's tags with the names of their attributes, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        links = [value or "" for name, value in attrs if name in ("src", "href")]
        assert all(link.startswith(("./", "data:image/", "contact_", "results/", "archives/")) for link in links)
        self.text += "".join(value or "" for name, value in attrs if name in ("alt", "title", "aria-label"))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.tags.append((f"!{data}",))

    def handle_data(self, data: str) -> None:
        self.text += data


def stem_of(name: str) -> str:
    """What of a name can be a file's."""
    whole = name.replace("/", "_").encode("utf-8", "surrogateescape")[:200]
    return whole.decode("utf-8", "surrogateescape").replace("..", "..x")


def face(folder: Path, name: str) -> None:
    """``NAME.html``, ``NAME_samples.html`` and ``index.html`` of a face from two photos; a name is also a file's."""
    stem = stem_of(name)
    result = toy_result()
    result.stages[name] = result.completed.colour
    record: dict[str, Any] = {
        "source": name,
        "files": [f"{stem}.png", f"{stem}.json"],
        "mode": "soft",
        "mode_reason": name,
        "warnings": [name],
        "settings": {"generator": name, "observe": {name: name}},
        "weights": {name: "0"},
        "face_model": {"name": name, "licence": name},
        "photos": [{"source": name, "index": 1, "left_out": name}, {"source": name, "index": 2}],
        "frontal": {"way": name, "reason": name},
        "light": {name: name},
        name: {name: [name, {name: 1.5}]},
    }
    write_page(folder, stem, result, record)
    write_samples(folder, stem, result, np.stack([np.zeros((256, 256, 3), np.uint8)] * 2))
    (folder / f"{stem}_samples.html").rename(folder / "samples.html")
    update_page(folder, stem, result.frontal, record)
    write_record(folder, stem, record)
    write_failures(folder, [Failure(name, name, name)])
    write_index(folder)


def evaluation(folder: Path, name: str, value: float) -> Evaluation:
    write_png(folder / "a.png", np.zeros((8, 8, 3), np.float32))
    labels = {"twins": [[f"{name}0", f"{name}1"]], "made": name}
    rows = [
        Row(
            f"{name}{k}",
            name,
            {"psnr_face": value + k, "symmetry": 1.0 * k},
            labels,
        )
        for k in range(3)
    ]
    rows = [replace(row, pictures={"made": "a.png", "truth": "a.png"}) for row in rows]
    failures = ({"item": name, "method": name, "reason": name},)
    return Evaluation("head", {"a": name}, {"perceptual": name, name: name}, tuple(rows), failures)


def evaluated(folder: Path, name: str) -> None:
    """``textures.html``, ``compare.html``, ``table.txt`` and the contact sheet."""
    one, other = evaluation(folder, name, 20.0), evaluation(folder, name, 21.0)
    other = replace(other, settings={"a": [name]}, failures=(), rows=(*other.rows, Row(name, name, {"psnr_face": 1.0})))
    write_textures_page(folder, one, write_report(folder, one), write_sheets(folder, [name], 16, lambda _: gray), 16)
    (folder / "table2.txt").write_text(table(one, ("made",)))
    comparison = compare(one, other, None, TOLERANCES)
    (folder / "compare.txt").write_text(text_of(comparison, None))
    write_compare_page(folder, comparison, folder, folder)


gray = np.full((16, 16, 3), 0.5, np.float32)


def dataset(folder: Path, name: str) -> None:
    """``README.md`` and ``stats.html`` of a dataset whose sources, attributes, warnings and licence are called so."""
    archive = folder / "photos.tar"
    (folder / "x.jpg").write_text(f"warn={' '.join(name.split())}".encode("utf-8", "replace").decode())
    (folder / "y.jpg").write_text("text")
    with tarfile.open(archive, "w") as tar:
        for number, file in enumerate(("x.jpg", "y.jpg")):
            tar.add(folder / file, f"n{stem_of(name)}{number}.jpg")
    label = name.encode("utf-8", "replace").decode()
    keys = [shown(f"photos.tar/n{stem_of(name)}{number}.jpg") for number in range(2)]
    rows = [{"file": key, label: label, "age": number} for number, key in enumerate(keys)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Dataset.create(folder / "ds", DatasetConfig(shard_size=2))
    with made.locked():
        plan(made, archive, licence=label, attributes=str(folder / "t.jsonl"))
        finish(made, Loop(made))
    DatasetStats(str(folder / "ds"), str(folder)).run()
    (folder / "README.md").write_bytes((folder / "ds/README.md").read_bytes())


def app(folder: Path, name: str) -> None:
    """What ``ostec app`` shows of uploads, folders, records, results and datasets that are called so."""
    sessions = Sessions()
    try:
        dropped = sessions.uploads / stem_of(name)
        dropped.write_bytes(b"x")
        session = sessions.of("a")
        (kept,) = sessions.take(session, "photo", json.dumps([{"path": str(dropped)}]))
        title = kept.stem

        def fill(out: Path) -> None:
            for ending in (".html", ".npz", ".webm", ".<b>"):
                (out / f"{title}{ending}").write_bytes(b"x")
            write_record(out, title, {"source": name, "files": [], "settings": {name: name}, "mode_reason": name})

        job = Job(lambda _: None, name, 0.5, name, [name], [session.preview(stem_of(name))[1]])
        one, other = session.make(title, fill), session.make(title, fill)
        looked = [Looked(kept.name, "results/a/previews/a.jpg", ((1.0, 2.0, 3.0, 4.0),), name), Looked(name, "")]
        parts = [html.progress(job, 0), html.said(name, True, job), html.photos(looked), html.compare(one, other)]
        parts += [html.result(one, name, job), html.dataset(DatasetShown(one, name))]
    finally:
        sessions.close()
    text = "".join(parts).replace(session.token, "TOKEN")
    (folder / "app.html").write_text(text, encoding="utf-8")


def pages(folder: Path) -> dict[str, str]:
    """By ending and place: names differ."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".html", ".md", ".txt"))
    known = ("index", "samples", "app", "textures", "compare", "stats", "README", "table", "table2")
    return {
        (path.name if path.stem in known else path.suffix): path.read_bytes().decode("utf-8")  # it is text at all
        for path in paths
    }


def readable(text: str) -> str:
    """As it is shown, but for line breaks and for a byte that is no text, which tables of JSON cannot hold."""
    return re.sub(r"\n|\\n|\\r", "", shown(text, "\n")).replace(r"\udcff", "?")


class Gray:
    """Stands for the renderer of a real face."""

    def __init__(self, topology: object) -> None:
        pass

    def portrait(self, *_: object) -> np.ndarray:
        return gray


@pytest.mark.parametrize("write", [face, evaluated, dataset, app])
@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
def test_a_hostile_name_is_text_on_every_page(
    tmp_path: Path, name: str, write: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostec.export.samples.FaceRenderer", Gray)
    made = []
    for folder, text in ((tmp_path / "plain", "p" * len(shown(name))), (tmp_path / "evil", name)):
        folder.mkdir()
        write(folder, text)
        made.append(pages(folder))
    assert made[0].keys() == made[1].keys()
    for page, evil in made[1].items():
        plain = made[0][page]
        assert not TURNING.search(evil), page
        if page.endswith(".html"):
            one, other = Skeleton(plain), Skeleton(evil)
            assert Counter(one.tags) == Counter(other.tags), page  # tables are sorted by name
            assert readable(stem_of(name) if page == "samples.html" else name) in readable(other.text), page
        else:
            assert len(evil.splitlines()) == len(plain.splitlines()), page
        if page == "README.md":
            for sign in ("<", "[", "`"):
                assert evil.partition("\n# ")[2].count(sign) == plain.partition("\n# ")[2].count(sign), sign


def test_labels_of_sheets_are_plain_letters() -> None:
    from ostec.eval.report.pictures import LABEL_PX, label_strip

    for name in EVIL:
        assert label_strip(name, 200).shape == (LABEL_PX, 200, 3)


def test_a_hostile_name_in_exif_is_on_no_page(tmp_path: Path) -> None:
    """What a camera says of a picture is not read but for its orientation."""
    from ostec.io.images import read_image

    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = EVIL[0]
    Image.new("RGB", (20, 10), (9, 9, 9)).save(tmp_path / "a.jpg", exif=exif)
    assert EVIL[0].encode() in (tmp_path / "a.jpg").read_bytes()
    assert read_image(tmp_path / "a.jpg").shape == (10, 20, 3)
