"""``ostec app`` in Chromium: photos in, heads out; what goes wrong is said; nothing leaves this machine."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostec.dataset.finished import FinishedDataset
from ostec.io.images import encode_png
from tests.browser import Browser, Chromium, chromium
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio (pip install 'ostec[app]')"),
]
ROOT = Path(__file__).resolve().parents[2]
START_S = 180.0
FAKE = ("-m", "tests.app.web_fake")
REAL = ("-m", "ostec", "app", "--port", "0", "--no-browser")


@dataclass
class Server:
    address: str
    process: subprocess.Popen[str]

    def temporary(self) -> list[Path]:
        """What lies about of it."""
        pattern = f"ostec-app-{self.process.pid}-*"
        return [*Path("/tmp").glob(pattern), *Path(tempfile.gettempdir()).glob(pattern)]


@contextmanager
def serving(words: tuple[str, ...]) -> Iterator[Server]:
    """The command, until it is told to end; nothing is left of it then."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, line
        server = Server(found[0], process)
        assert server.temporary()
        yield server
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
        assert server.temporary() == []
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Its camera shows an example, moving to and fro."""
    import cv2

    photo, film = cv2.imread(str(ROOT / "examples/astronaut.png")), tmp_path_factory.mktemp("film") / "film.mjpeg"
    with film.open("wb") as stream:
        for k in range(60):
            place = np.array([[1.0, 0, 60 + 30 * np.sin(k / 10)], [0, 1.0, -16 + 8 * np.sin(k / 7)]])
            stream.write(cv2.imencode(".jpg", cv2.warpAffine(photo, place, (640, 480)))[1].tobytes())
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(*flags, f"--use-file-for-fake-video-capture={film}") as program:
        yield program


@pytest.fixture(scope="module")
def fake() -> Iterator[Server]:
    with serving(FAKE) as server:
        yield server


@pytest.fixture(scope="module")
def real() -> Iterator[Server]:
    with serving(REAL) as server:
        yield server


@contextmanager
def user(program: Chromium, server: Server, **options: Any) -> Iterator[Browser]:
    """Somebody's page; nothing that it asks for is elsewhere, and it has nothing to complain of."""
    with program.open(**options) as browser:
        browser.page.goto(server.address)
        browser.page.wait_for_selector(".drop .target")
        yield browser
        assert [asked for asked in browser.requests if not asked.startswith((server.address, "blob:"))] == []
        assert browser.problems == []


def photo(words: str, name: str = "anna.png") -> dict[str, Any]:
    """A picture whose file says what the fake completer does with it."""
    picture = encode_png(np.full((40, 60, 3), 0.5, np.float32))
    return {"name": name, "mimeType": "image/png", "buffer": picture + words.encode()}


def drop(browser: Browser, *files: Any) -> None:
    before = browser.page.locator("figure.photo").count()
    browser.page.set_input_files(".drop input[type=file] >> nth=0", list(files))
    browser.page.wait_for_selector("figure.photo" if not before else f"figure.photo:has-text('{files[0]['name']}')")


def press(browser: Browser, name: str) -> None:
    browser.page.get_by_role("button", name=name, exact=True).locator("visible=true").click()


def archive_of(browser: Browser) -> zipfile.ZipFile:
    with browser.page.expect_download() as download:
        browser.page.click("a.all")
    return zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))


def test_example_becomes_a_head_that_moves(program: Chromium, real: Server) -> None:
    with user(program, real, viewport={"width": 1280, "height": 1100}) as browser:
        page = browser.page
        press(browser, "Try Astronaut")
        page.wait_for_selector("figure.photo .boxes button")
        page.get_by_label("Prior: seconds").check()
        press(browser, "Complete")
        page.wait_for_selector(".job progress")
        frame = page.frame_locator(".result iframe")
        frame.locator(".viewer[data-ready]").wait_for(timeout=300_000)
        page.wait_for_timeout(500)
        canvas = frame.locator(".stage canvas")
        start = np.asarray(list(canvas.screenshot()))
        assert len(np.unique(start)) > 100
        frame.get_by_label("Jaw open", exact=True).fill("1")
        page.wait_for_timeout(500)
        assert canvas.screenshot() != bytes(start.astype(np.uint8))
        with archive_of(browser) as archive:
            record = json.loads(archive.read("astronaut.json"))
            assert set(archive.namelist()) == {*record["files"], "index.html"}
            assert {"astronaut_head.glb", "astronaut.png", "astronaut.html"} <= {*archive.namelist()}
        assert page.locator(".command code").inner_text() == "ostec complete astronaut.png -o results --completer prior"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_telephone(program: Chromium, fake: Server, scheme: str) -> None:
    with user(program, fake, viewport={"width": 390, "height": 844}, color_scheme=scheme) as browser:
        browser.page.wait_for_timeout(500)
        assert browser.page.evaluate("document.documentElement.scrollWidth") == 390
        for name in ("Photo", "Folder", "Track", "Compare", "Dataset", "Models"):  # none is in a menu of the rest
            browser.page.get_by_role("tab", name=name).wait_for(timeout=10_000)
        ground = browser.picture("body")[3, 3].mean()
        assert (ground < 100) == (scheme == "dark")
        drop(browser, photo("hello"))
        press(browser, "Complete")
        browser.page.wait_for_selector(".result iframe")
        assert browser.page.evaluate("document.documentElement.scrollWidth") == 390


def test_face_is_chosen_by_a_click(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        drop(browser, photo("hello"))
        browser.page.click("[data-face='2']")
        assert browser.page.get_by_label("2", exact=True).is_checked()
        press(browser, "Complete")
        browser.page.wait_for_selector(".result iframe")
        with archive_of(browser) as archive:
            assert json.loads(archive.read("anna.json"))["face"] == 2


def test_what_is_dropped_next_takes_its_place(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        drop(browser, photo("one", "one.png"), photo("two", "two.png"))
        assert browser.page.locator("figure.photo").count() == 2
        drop(browser, photo("three", "three.png"))
        browser.page.wait_for_function("document.querySelectorAll('figure.photo').length === 1")


def test_cancelling_takes_less_than_two_seconds_and_leaves_nothing(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        drop(browser, photo("wait"))
        press(browser, "Complete")
        browser.page.wait_for_selector(".job:has-text('Projecting')")
        begin = time.monotonic()
        press(browser, "Cancel")
        browser.page.wait_for_selector(".said:has-text('Cancelled')")
        assert time.monotonic() - begin < 2
        (root,) = {*fake.temporary()}
        assert not [path for path in root.glob("s*/*") if path.name.endswith(".part") or path.name.isdecimal()]
        drop(browser, photo("hello", "next.png"))
        press(browser, "Complete")
        browser.page.wait_for_selector(".result iframe")


def test_wrong_files_get_a_sentence(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        press(browser, "Complete")
        browser.page.wait_for_selector(".said.bad:has-text('Drop a photo first')")
        drop(browser, {"name": "<b>x</b>.jpg", "mimeType": "image/jpeg", "buffer": b"hello"})
        assert "is not a picture that can be read" in browser.page.inner_text("figure.photo.bad")
        assert browser.page.locator("figure.photo b").count() == 0
        drop(browser, photo("noface", "wall.png"))
        press(browser, "Complete")
        browser.page.wait_for_selector(".said.bad:has-text('No face was found.')")
        drop(browser, photo("text", "poem.png"))
        press(browser, "Complete")
        browser.page.wait_for_selector(".said.bad p:text-is('poem.png is no picture.')")


def test_two_users_at_once_get_their_own(program: Chromium, fake: Server) -> None:
    with user(program, fake) as one, user(program, fake) as other:
        drop(one, photo("wait", "first.png"))
        drop(other, photo("the second", "second.png"))
        press(one, "Complete")
        one.page.wait_for_selector(".job:has-text('Projecting')")
        press(other, "Complete")
        other.page.wait_for_selector(".job:has-text('1 before you in the queue')")
        press(one, "Cancel")
        other.page.wait_for_selector(".result iframe")
        assert "the second" in other.page.frame_locator(".result iframe").locator("h1").inner_text()
        assert one.page.locator(".result iframe").count() == 0
        address = other.page.get_attribute(".result iframe", "src")
    with program.open() as stranger:  # the page is closed, and its results have gone
        answer = stranger.page.goto(f"{fake.address}{address}")
        for _ in range(40):
            if answer.status == 404:
                break
            time.sleep(0.5)
            answer = stranger.page.goto(f"{fake.address}{address}")
        assert answer.status == 404


def tab(browser: Browser, name: str) -> None:
    browser.page.get_by_role("tab", name=name).click()


def test_several_photos_become_one_head_with_the_generator(program: Chromium, real: Server, tmp_path: Path) -> None:
    """To the end, with the fewest iterations that the page offers; only what is dropped is shown."""
    import cv2

    photo = cv2.imread(str(ROOT / "examples/astronaut.png"))
    for name, picture in (("anna.png", photo), ("anna2.png", cv2.convertScaleAbs(photo[:400, 40:440], alpha=0.9))):
        cv2.imwrite(str(tmp_path / name), picture)
    with user(program, real) as browser:
        drop(browser, str(tmp_path / "anna.png"), str(tmp_path / "anna2.png"))
        browser.page.wait_for_selector("text=2 photos: they become one person")
        browser.page.get_by_text("More", exact=True).first.click()
        browser.page.get_by_label("number input for Iterations").first.fill("10")
        browser.page.keyboard.press("Tab")
        press(browser, "Complete")
        browser.page.wait_for_selector(".job:has-text('Projecting views')", timeout=300_000)
        browser.page.wait_for_selector(".result iframe", timeout=300_000)
        command = browser.page.locator(".command code").inner_text()
        assert command == "ostec fuse anna.png anna2.png --name anna -o results --completer generator -i 10"
        with archive_of(browser) as archive:
            record = json.loads(archive.read("anna.json"))
        settings = record["settings"]
        assert (settings["completer"], settings["iterations"]) == ("generator", 10)
        assert [Path(one["source"]).name for one in record["photos"]] == ["anna.png", "anna2.png"]


def test_folder_shows_thumbnails_and_failures_and_is_resumed(program: Chromium, real: Server, tmp_path: Path) -> None:
    for name in ("astronaut.png", "grace_hopper.jpg"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes((ROOT / "examples" / name).read_bytes())
    (tmp_path / "in/broken.jpg").write_bytes(b"hello")
    with user(program, real) as browser:
        tab(browser, "Folder")
        for place, folder in (("/home/me/photos", "in"), ("/home/me/results", "out")):
            browser.page.get_by_placeholder(place).fill(str(tmp_path / folder))
        browser.page.get_by_label("Prior: seconds").locator("visible=true").check()
        press(browser, "Complete all")
        browser.page.wait_for_selector(".job:has-text('of 3:')", timeout=300_000)
        browser.page.wait_for_selector(".said:has-text('The results are in')", timeout=300_000)
        assert "broken.jpg failed" in browser.page.locator(".lines").inner_text()
        assert browser.page.locator(".tiles img").count() == 2
        made = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
        press(browser, "Complete all")
        browser.page.wait_for_selector(".said:has-text('2 skipped')", timeout=300_000)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")} == made


def test_camera_moves_a_head_and_is_recorded(program: Chromium, real: Server) -> None:
    """Chromium's camera shows the example, moving to and fro."""
    with user(program, real) as browser:
        tab(browser, "Track")
        press(browser, "Live camera")
        browser.page.wait_for_selector(".live img", timeout=300_000)
        first = browser.page.get_attribute(".live img", "src")
        browser.page.wait_for_function(f"document.querySelector('.live img').src !== '{first}'")
        assert browser.picture(".live img").std() > 30
        assert browser.page.evaluate("document.querySelector('.live img').naturalWidth") == 640
        press(browser, "Finish")
        browser.page.wait_for_selector("section.result >> visible=true", timeout=300_000)
        browser.page.wait_for_selector(".cameras", state="hidden")
        browser.page.locator("a.all >> visible=true").wait_for()
        with archive_of(browser) as archive:
            rows = archive.read("camera_track.csv").decode().splitlines()
            record = json.loads(archive.read("camera_track.json"))
        assert record["frames"]["count"] == len(rows) - 1 > 1
        assert record["frames"]["seen"] > 0


def test_results_are_compared(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        for words in ("one", "other"):
            drop(browser, photo(words, f"{words}.png"))
            press(browser, "Complete")
            browser.page.wait_for_selector(f".result iframe[title='{words}']")
        tab(browser, "Compare")
        browser.page.wait_for_selector(".two iframe >> nth=1")
        frames = [browser.page.frame_locator(f".two section:nth-child({k}) iframe") for k in (1, 2)]
        said = [frame.locator("h1").inner_text() for frame in frames]
        assert ["one" in said[0], "other" in said[1]] == [True, True]


def test_dataset_is_described_and_filtered(program: Chromium, fake: Server, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "a", "b.jpg": "b faces=2", "c.jpg": "c"})
    dataset = build_faces(tmp_path / "ds", photos)
    count = len(FinishedDataset(dataset).faces_table())
    with user(program, fake) as browser:
        tab(browser, "Dataset")
        browser.page.get_by_label("Folder of a dataset").fill(str(tmp_path / "none"))
        press(browser, "Show")
        browser.page.wait_for_selector(".said.bad >> visible=true")
        browser.page.get_by_label("Folder of a dataset").fill(str(dataset))
        press(browser, "Show")
        browser.page.wait_for_selector("section[aria-label=Dataset] pre")
        assert f"{count}" in browser.page.inner_text("section[aria-label=Dataset] pre")
        assert browser.page.evaluate("document.querySelector('img.sheet').decode().then(() => true)")
        browser.page.get_by_text("Filter into a new dataset").click()
        browser.page.get_by_label("single face").check()
        browser.page.get_by_label("Folder of the new dataset").fill(str(tmp_path / "narrow"))
        press(browser, "Filter")
        browser.page.wait_for_selector(f".said:has-text('2 faces are in {tmp_path / 'narrow'}')")
        assert len(FinishedDataset(tmp_path / "narrow").faces_table()) == 2


def test_models_say_what_they_permit_and_are_fetched(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        tab(browser, "Models")
        row = browser.page.locator("tr:has(td:text-is('stylegan2_ffhq'))")
        row.wait_for()
        assert row.locator("td").nth(4).inner_text() in ("no", "see the licence")
        press(browser, "Fetch")
        browser.page.wait_for_selector(".said.bad:has-text('Choose a model first') >> visible=true")
        browser.page.get_by_label("Fetch from its publisher").click()
        browser.page.get_by_role("option", name="stylegan2_ffhq", exact=True).click()
        press(browser, "Fetch")
        browser.page.wait_for_selector(".said:has-text('stylegan2_ffhq was fetched.')")
        row.wait_for()


def test_keyboard_is_enough(program: Chromium, fake: Server) -> None:
    """From the first key to a result and another tab."""
    with user(program, fake) as browser:
        keys = browser.page.keyboard

        def reach(words: str) -> None:
            for _ in range(40):
                keys.press("Tab")
                if browser.page.evaluate("document.activeElement.innerText || ''").strip() == words:
                    return
            raise AssertionError(f"{words} is not reached by the tabulator")

        reach("Try Grace Hopper")
        keys.press("Enter")
        browser.page.wait_for_selector("figure.photo .boxes button")
        reach("Complete")
        keys.press("Enter")
        browser.page.wait_for_selector(".result iframe")
        browser.page.get_by_role("tab", name="Photo").focus()
        reach("Track")
        keys.press("Enter")
        browser.page.locator("text=Video of a face >> visible=true").wait_for()


def test_every_tab_opens(program: Chromium, fake: Server) -> None:
    with user(program, fake) as browser:
        for name, shown in {
            "Folder": "Photos of many people",
            "Track": "Video of a face",
            "Compare": "Complete a photo first",
            "Dataset": "Folder of a dataset",
            "Models": "stylegan2_ffhq",
        }.items():
            browser.page.get_by_role("tab", name=name).click()
            browser.page.locator(f"text={shown}").locator("visible=true").first.wait_for()
