"""``ostec train decoder`` from maps to a file that fits, is drawn, and completes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.train.decoder import TrainDecoder
from ostec.core.assets import asset_path
from ostec.core.types import FloatArray
from ostec.load.topology import read_topology
from ostec.pipeline.decoder import load_decoder
from ostec.render.uv import bake_layout

SETTINGS = {
    "size": 32,
    "grow": 8,
    "images": 16,
    "batch": 4,
    "latent": 6,
    "channel-base": 128,
    "channel-max": 8,
    "adversarial-from": 12,
    "patch": 16,
    "photos": 1,
    "device": "cpu",
}
WORDS = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]


def maps(count: int) -> Iterator[tuple[str, FloatArray]]:
    for number in range(count):
        tone = np.random.default_rng(number).uniform(0.3, 0.8, 3).astype(np.float32)
        yield f"{number:016x}_1", np.broadcast_to(tone, (64, 64, 3)).copy()


@pytest.mark.slow
def test_maps_become_a_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TrainDecoder, "_maps", lambda _: maps(24))
    out = tmp_path / "d.safetensors"
    assert main(["train", "decoder", "DS", "--work", str(tmp_path / "work"), "-o", str(out), *WORDS]) == 0
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert card["draws"] == "maps"
    assert card["portraits_trained"] + card["portraits_held_out"] == 24
    assert card["discriminator"] is not None
    topology = read_topology(asset_path("topology/facemesh.npz"))
    decoder = load_decoder(out, lambda size: bake_layout(topology, size).inside.numpy(), topology.sha256)
    start = decoder.start(np.full((64, 64, 3), 0.5, np.float32))
    assert decoder.texture(start).shape == (32, 32, 3)
    drawn = tmp_path / "drawn"
    assert main(["generate", "-o", str(drawn), "--generator", str(out), "--seeds", "0-1", "-q"]) == 0
    assert (drawn / "0001.png").is_file()
    capsys.readouterr()
    photo = str(Path(__file__).parents[2] / "examples/astronaut.png")
    assert main(["complete", photo, "-o", str(tmp_path / "c"), "--generator", str(out), "-i", "1"]) != 0
    assert "draws UV maps, no views" in capsys.readouterr().err


def test_few_maps_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TrainDecoder, "_maps", lambda _: maps(3))
    assert main(["train", "decoder", "DS", "--work", str(tmp_path), "-o", str(tmp_path / "d.safetensors"), *WORDS]) == 2
    assert "DS has 3 maps, fewer than 20." in capsys.readouterr().err
