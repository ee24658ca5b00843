"""A page in Chromium: the head is drawn, buttons and sliders do what they say, and nothing leaves the file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.types import CompletedTexture, FloatArray, TexturedFace
from ostec.export.page import write_index, write_page
from ostec.export.record import write_record
from ostec.export.viewer import viewer_page
from ostec.heads.maker import HeadMaker
from ostec.heads.parts import Head
from tests.browser import Browser, Chromium, chromium
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology
from tests.toy_head import toy_arkit_model, toy_correspondence

pytestmark = pytest.mark.slow
TOPOLOGY = toy_topology()
PHOTO = (0.0, 0.0, 1.0)
"""Ground of the photo, which nothing else on the page shows."""


def toy_result() -> tuple[TexturedFace, Head, FloatArray]:
    """A face with its head and its photo."""
    origins = np.full((256, 256), 1, np.uint8)
    origins[:, 128:] = 3
    face = toy_face(TOPOLOGY, (0.0, 0.0, 0.0))
    completed = CompletedTexture({"colour": toy_texture(256)}, origins)
    pictures = {"Prior": toy_texture(64), "Projection": toy_texture(128)}
    result = TexturedFace(face, TOPOLOGY, completed, stages=pictures)
    model = replace(toy_arkit_model(TOPOLOGY), face_layout="toy")
    head = HeadMaker(model, toy_correspondence(model))(result)
    assert head.shares_texture
    return result, head, toy_photo(TOPOLOGY, face, toy_texture(256), background=PHOTO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two results: a head, and a face alone."""
    folder = tmp_path_factory.mktemp("results")
    result, head, photo = toy_result()
    write_page(folder, "a", result, {"source": "a.jpg"}, head, photo)
    write_page(folder, "b", result, {"source": "b.jpg"}, None, photo)
    (folder / "alone.html").write_text(viewer_page(result, head), encoding="utf-8")
    for name in "ab":
        write_record(folder, name, {"source": f"{name}.jpg", "files": [f"{name}.json"], "settings": {}})
    write_index(folder)
    return folder


@pytest.fixture(scope="module")
def program() -> Iterator[Chromium]:
    with chromium() as program:
        yield program


@pytest.fixture(scope="module")
def shown(program: Chromium, folder: Path) -> Iterator[Browser]:
    with program.open(folder / "a.html", viewport={"width": 1280, "height": 900}) as browser:
        browser.page.wait_for_selector(".viewer[data-ready]")
        yield browser
        assert browser.problems == []
        assert browser.requests == [(folder / "a.html").as_uri()]


@pytest.fixture
def page(shown: Browser) -> Iterator[Browser]:
    """The page as it was opened."""
    yield shown
    for pressed in shown.page.query_selector_all(".viewer [aria-pressed=true]"):
        pressed.click()
    shown.page.click("[data-do=reset]")


def changed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[H, W]: where two pictures differ."""
    return np.abs(one - other).max(-1) > 8


def press(page: Browser, name: str) -> None:
    page.page.click(f"[data-mode={name}]")


def test_head_is_drawn_with_its_texture(page: Browser) -> None:
    picture = page.picture(".stage")
    ground = picture[20, 20]
    drawn = np.abs(picture - ground).max(-1) > 8
    assert 0.2 < drawn.mean() < 0.8
    colours = picture[drawn]
    assert (np.ptp(colours, axis=0) > 80).all()  # the texture differs from corner to corner


@pytest.mark.parametrize("name", ["light", "wireframe", "provenance"])
def test_buttons_change_the_picture_and_change_it_back(page: Browser, name: str) -> None:
    before = page.picture(".stage")
    press(page, name)
    during = page.picture(".stage")
    assert changed(before, during).mean() > 0.02
    if name == "provenance":  # the photo's green on the left, the prior's blue on the right, in the face's middle
        row = during[len(during) // 2]
        left, right = row[int(0.42 * len(row))], row[int(0.58 * len(row))]
        np.testing.assert_allclose(left, (76, 175, 80), atol=3)
        np.testing.assert_allclose(right, (66, 133, 244), atol=3)
        assert page.page.locator(".stage .legend").is_visible()
    press(page, name)
    assert not changed(before, page.picture(".stage")).any()


def test_sliders_move_what_they_name(page: Browser) -> None:
    start = page.picture(".stage")
    page.page.click("[data-do=neutral]")
    neutral = page.picture(".stage")
    page.slide("Jaw open", 1)
    rows = np.nonzero(changed(neutral, page.picture(".stage")))[0]
    assert len(rows) > 200
    assert rows.min() > 0.4 * len(start)  # the chin alone
    page.slide("Jaw open", 0)
    assert not changed(neutral, page.picture(".stage")).any()
    page.slide("Inner brows up", 1)
    rows = np.nonzero(changed(neutral, page.picture(".stage")))[0]
    assert len(rows) > 200
    assert np.median(rows) < len(start) / 2
    page.page.click("[data-do=photo]")
    assert not changed(start, page.picture(".stage")).any()
    page.slide("Head left, right", 1)
    assert changed(start, page.picture(".stage")).mean() > 0.1
    page.page.keyboard.press("r")
    assert not changed(start, page.picture(".stage")).any()


def test_photo_lies_where_the_head_is_and_the_divider_moves(page: Browser) -> None:
    press(page, "compare")
    blue = {}
    for share in (100, 50, 0):
        page.slide("How far the photo reaches, from the left", share)
        picture = page.picture(".stage")
        blue[share] = np.abs(picture - 255 * np.array(PHOTO)).max(-1) < 40
        if share == 100:
            face = picture
        if share == 0:
            head = picture
    assert blue[100].mean() > 0.1
    columns = np.nonzero(blue[50])[1]
    assert 0 < columns.min() < columns.max() <= len(head) / 2 + 1
    assert not blue[0].any()
    middle = slice(int(0.4 * len(head)), int(0.6 * len(head)))  # the same texels at the same place
    assert np.abs(face[middle, middle] - head[middle, middle]).mean() < 6
    assert page.page.locator(".before img").get_attribute("alt") == "The photo"


def test_mouse_keys_and_wheel_turn_and_zoom(page: Browser) -> None:
    start = page.picture(".stage")
    box = page.page.locator(".stage canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = page.page.mouse
    mouse.move(*middle)
    mouse.down()
    mouse.move(middle[0] + 120, middle[1])
    mouse.up()
    dragged = page.picture(".stage")
    assert changed(start, dragged).mean() > 0.1
    mouse.wheel(0, -300)
    zoomed = page.picture(".stage")
    assert changed(dragged, zoomed).mean() > 0.05
    page.page.keyboard.press("r")
    page.page.focus(".stage canvas")
    page.page.keyboard.press("ArrowLeft")
    assert changed(start, page.picture(".stage")).mean() > 0.02
    page.page.keyboard.press("ArrowRight")
    inside = slice(10, -10)  # the border shows what has the keyboard
    assert not changed(start, page.picture(".stage"))[inside, inside].any()
    page.page.keyboard.press("+")
    assert changed(start, page.picture(".stage")).mean() > 0.02


def test_head_turns_by_itself_and_fills_the_screen(page: Browser) -> None:
    start = page.picture(".stage")
    page.page.keyboard.press("t")
    page.page.wait_for_timeout(1000)
    assert changed(start, page.picture(".stage")).mean() > 0.05
    page.page.keyboard.press("t")
    page.page.keyboard.press("f")
    page.page.wait_for_function("document.fullscreenElement?.classList.contains('viewer')")
    page.page.keyboard.press("f")
    page.page.wait_for_function("!document.fullscreenElement")


def test_pictures_open_large_and_the_arrow_keys_show_the_others(page: Browser) -> None:
    page.page.click("button.open >> nth=1")
    large = page.page.locator("dialog.large img")
    assert large.bounding_box()["width"] > 600
    assert large.get_attribute("alt") == "Prior"
    page.page.keyboard.press("ArrowRight")
    assert large.get_attribute("alt") == "Projection"
    page.page.keyboard.press("Escape")
    assert not page.page.locator("dialog.large").is_visible()


def test_everything_has_a_name_and_can_be_reached_by_keyboard(page: Browser) -> None:
    controls = page.page.query_selector_all(".viewer :is(button, input, canvas)")
    assert len(controls) > 12
    for control in controls:
        name = control.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent")
        assert name.strip(), control.evaluate("e => e.outerHTML")
        assert control.evaluate("e => e.tabIndex") == 0
    keys = [button.get_attribute("aria-keyshortcuts") for button in controls]
    named = [key for key in keys if key]
    assert len(named) == len(set(named)) == 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_telephone_and_a_finger_turns_the_head(program: Chromium, folder: Path, scheme: str) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": scheme}
    with program.open(folder / "a.html", **options) as browser:
        browser.page.wait_for_selector(".viewer[data-ready]")
        assert browser.page.evaluate("document.documentElement.scrollWidth") == 390
        start = browser.picture(".stage")
        assert (start[20, 20].mean() < 128) == (scheme == "dark")
        touch = browser.page.context.new_cdp_session(browser.page)
        box = browser.page.locator(".stage canvas").bounding_box()
        for kind, points in (("touchStart", [0]), ("touchMove", [30]), ("touchMove", [90]), ("touchEnd", [])):
            places = [{"x": box["x"] + 150 + x, "y": box["y"] + 150} for x in points]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        assert changed(start, browser.picture(".stage")).mean() > 0.05
        assert browser.problems == []


def test_index_and_pages_lead_to_each_other(program: Chromium, folder: Path) -> None:
    with program.open(folder / "index.html") as browser:
        for name in "ab":
            browser.page.click(f"a.tile >> text={name}")
            browser.page.wait_for_selector(".viewer[data-ready]")
            assert browser.page.url == (folder / f"{name}.html").as_uri()
            browser.page.click("nav a")
            assert browser.page.url == (folder / "index.html").as_uri()


def test_face_alone_and_viewer_alone_are_drawn(program: Chromium, folder: Path) -> None:
    for name, what in (("b", "Face"), ("alone", "Head")):
        with program.open(folder / f"{name}.html") as browser:
            browser.page.wait_for_selector(".viewer[data-ready]")
            assert browser.page.locator("canvas").get_attribute("aria-label").startswith(what)
            assert np.ptp(browser.picture(".stage"), axis=(0, 1)).max() > 80
            assert browser.problems == []
            assert len(browser.requests) == 1


def test_without_webgl_the_page_says_so(program: Chromium, folder: Path) -> None:
    with program.open() as browser:
        browser.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        browser.page.goto((folder / "a.html").as_uri())
        browser.page.wait_for_function("document.querySelector('.note').textContent.includes('WebGL 2 is needed')")
