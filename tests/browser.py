"""Chromium for tests, where there is one: Debian's package, driven by playwright."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
PATIENCE_MS = 120_000


@dataclass
class Browser:
    """One page; what it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    """Addresses, without data."""
    problems: list[str] = field(default_factory=list)

    def picture(self, selector: str) -> np.ndarray:
        """What an element shows, [H, W, 3] of 0 to 255."""
        self.page.wait_for_timeout(300)  # it is drawn with the next frame
        shot = self.page.locator(selector).screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), float)

    def slide(self, label: str, value: float) -> None:
        """Set a slider as a user does."""
        self.page.get_by_label(label, exact=True).fill(str(value))


@dataclass
class Chromium:
    """The program, of which each test module starts one."""

    started: Any

    @contextmanager
    def open(self, path: Path | None = None, **options: Any) -> Iterator[Browser]:
        """A new page, or an empty one; options of playwright's contexts."""
        page = self.started.new_page(**options)
        page.set_default_timeout(PATIENCE_MS)
        opened = Browser(page)
        page.on("console", lambda said: opened.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: opened.problems.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith("data:") else opened.requests.append(asked.url))
        if path is not None:
            page.goto(path.as_uri())
        yield opened
        page.close()


@contextmanager
def chromium(*flags: str) -> Iterator[Chromium]:
    """Start it, with more flags; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        yield Chromium(started)
        started.close()
