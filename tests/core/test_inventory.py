"""What is said of models on this machine is what lies there."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ostec.core import assets, inventory
from ostec.core.inventory import State, inspect_model
from ostec.core.manifests import Manifest, ManifestFile

ABC = hashlib.sha256(b"abc").hexdigest()
KNOWN = ManifestFile("toy/known.bin", ABC, 3, "https://example.org/known.bin")
UNKNOWN = ManifestFile("toy/unknown.bin", url="https://example.org/unknown.bin")
BY_HAND = ManifestFile("toy/hand.bin", page="https://example.org/")
TOY = Manifest("toy", "testing", "", "", "MIT", (KNOWN, UNKNOWN))

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Lay a file into the user's folder."""
    monkeypatch.setattr(assets, "models_folders", lambda: [tmp_path])

    def lay(entry: ManifestFile, content: bytes = b"abc", pin: str | None = None) -> Path:
        path = tmp_path / entry.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if pin is not None:
            assets.pin_of(path).write_text(json.dumps({"size": 3, "sha256": pin}), encoding="utf-8")
        return path

    return lay


@pytest.fixture
def inspect(put: Put, monkeypatch: pytest.MonkeyPatch) -> Callable[..., inventory.ModelStatus]:
    def look(manifest: Manifest, thoroughly: bool = False) -> inventory.ModelStatus:
        monkeypatch.setattr(assets, "load_manifest", lambda _: manifest)
        return inspect_model(manifest, thoroughly)

    return look


Inspect = Callable[..., inventory.ModelStatus]


def test_nothing_there_is_missing_by_hand_or_gated(inspect: Inspect) -> None:
    assert inspect(TOY).state is State.MISSING
    assert inspect(replace(TOY, files=(KNOWN, BY_HAND))).state is State.BY_HAND
    assert inspect(replace(TOY, files=(BY_HAND,), sign_up="https://example.org")).state is State.GATED
    assert inspect(replace(TOY, files=(KNOWN, BY_HAND), any_of=True)).state is State.MISSING


def test_model_is_present_when_all_its_files_are(inspect: Inspect, put: Put) -> None:
    known = put(KNOWN)
    assert inspect(TOY).state is State.PARTLY
    put(UNKNOWN)
    status = inspect(TOY)
    assert status.state is State.UNPINNED
    assert (status.files[0].path, status.files[0].state) == (known, State.PRESENT)
    put(UNKNOWN, pin=ABC)
    assert inspect(TOY).state is State.PRESENT
    assert inspect(TOY).size == 6


def test_one_of_several_alternatives_is_enough(inspect: Inspect, put: Put) -> None:
    either = replace(TOY, any_of=True)
    assert inspect(either).chosen.entry is KNOWN
    put(UNKNOWN, b"abcd")
    status = inspect(either)
    assert (status.state, status.chosen.entry, status.size) == (State.UNPINNED, UNKNOWN, 4)
    put(KNOWN)
    status = inspect(either)
    assert (status.state, status.chosen.entry, status.size) == (State.PRESENT, KNOWN, 3)


def test_size_is_unknown_while_one_of_the_files_is(inspect: Inspect, put: Put) -> None:
    assert inspect(TOY).size == 0
    assert inspect(replace(TOY, any_of=True)).size == 3


@pytest.mark.parametrize("thoroughly", [False, True])
def test_wrong_size_is_damage(inspect: Inspect, put: Put, thoroughly: bool) -> None:
    path = put(KNOWN, b"ab")
    status = inspect(TOY, thoroughly)
    assert status.state is status.files[0].state is State.DAMAGED
    assert status.files[0].reason == f"{path} is damaged (2 bytes, expected 3)."


@pytest.mark.parametrize(("entry", "pin"), [(KNOWN, None), (UNKNOWN, ABC)])
def test_wrong_bytes_are_damage_to_those_who_look_thoroughly(
    inspect: Inspect, put: Put, entry: ManifestFile, pin: str | None
) -> None:
    put(entry, b"abd", pin)
    toy = replace(TOY, files=(entry,))
    assert inspect(toy).state is State.PRESENT
    assert inspect(toy, thoroughly=True).state is State.DAMAGED


def test_damaged_pin_is_damage(inspect: Inspect, put: Put) -> None:
    put(UNKNOWN, pin="nonsense")
    status = inspect(TOY)
    assert status.state is State.DAMAGED
    assert "is no pin of a SHA-256" in status.files[1].reason
