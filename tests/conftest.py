"""What tests of several rooms share; loaded once, on use."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from ostec.core.types import FloatArray
    from ostec.pipeline import Completer, Models

if "PYTEST_XDIST_WORKER" in os.environ:  # several at once: one thread each, for what they start too
    os.environ.setdefault("OMP_NUM_THREADS", "1")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def completer() -> "Completer":
    """Completes by the prior at 256 texels, on the CPU."""
    from ostec.pipeline import Completer
    from ostec.pipeline.settings import CompleteSettings

    return Completer.from_pretrained(CompleteSettings(iterations=0, uv_size=256, face_model="none"), "cpu")


@pytest.fixture(scope="session")
def models(completer: "Completer") -> "Models":
    """What ships, without a generator."""
    return completer.models


@pytest.fixture(scope="session")
def astronaut() -> "FloatArray":
    """[512, 512, 3] in [0, 1]: the example with a bare face."""
    from ostec.io.images import read_image

    return read_image(EXAMPLES / "astronaut.png")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """What a test printed, as text that a worker can send: names of files may be bytes that are no text."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
