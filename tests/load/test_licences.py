"""A licence is said once on a machine, and again when it changes."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ostec.core.manifests import Manifest
from ostec.load.morphable.read import LOGGER, show_licence

MANIFEST = Manifest("toy", "A toy model", "https://example.org", "", "MIT (code)", ())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def _said(caplog: pytest.LogCaptureFixture, manifest: Manifest = MANIFEST) -> list[str]:
    caplog.clear()
    show_licence(manifest)
    return [record.getMessage() for record in caplog.records]


def test_it_is_said_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        said = _said(caplog)
        assert said == ["A toy model (https://example.org). Licence: MIT (code). Said once."]
        assert _said(caplog) == []
        assert len(_said(caplog, replace(MANIFEST, licence="CC0"))) == 1  # another licence
        assert len(_said(caplog, replace(MANIFEST, name="other"))) == 1
    assert {path.name for path in cache.rglob("*.txt")} == {"toy.txt", "other.txt"}


def test_where_nobody_listens_nothing_is_remembered(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        assert _said(caplog) == []
    assert not list(cache.iterdir())
    with caplog.at_level(logging.INFO, LOGGER):
        assert len(_said(caplog)) == 1


def test_cache_that_cannot_be_written_says_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(blocked))
    with caplog.at_level(logging.INFO, LOGGER):
        assert len(_said(caplog)) == len(_said(caplog)) == 1
