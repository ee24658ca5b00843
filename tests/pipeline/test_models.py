"""Backbones of LPIPS: where they are looked for, and what is refused."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ostec.core import assets
from ostec.core.assets import Manifest, sha256_of
from ostec.core.errors import AssetError, WeightsError
from ostec.load import networks
from ostec.load.networks import load_lpips
from ostec.nets.perceptual import Lpips
from ostec.pipeline.models import load_models
from ostec.pipeline.settings import CompleteSettings
from tests.nets.lpips_files import backbone_tensors, entry_of

CPU = torch.device("cpu")
ALEX, VGG = "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone of random tensors."""
    path = tmp_path_factory.mktemp("made") / ALEX
    torch.save(backbone_tensors("alexnet"), path)
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, empty, as is torch hub's cache beside it."""
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    (tmp_path / "own/lpips").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    return tmp_path / "own"


def vouch(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Let the manifest's entries be those of made files."""
    true = assets.load_manifest("lpips")
    made = {path.name: entry_of(path) for path in files}

    def changed(name: str) -> Manifest:
        if name != "lpips":
            return assets.load_manifest(name)
        return replace(true, files=tuple(made.get(Path(entry.name).name, entry) for entry in true.files))

    monkeypatch.setattr(networks, "load_manifest", changed)


def put(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
    return target


def test_without_a_file_there_is_none(own: Path) -> None:
    assert load_lpips(CPU) is None


@pytest.mark.parametrize("place", ["own/lpips", "own", "torch/hub/checkpoints"])
def test_a_backbone_is_found_in_each_place(own: Path, made: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    vouch(monkeypatch, made)
    put(made, own.parent / place / ALEX)
    found = load_lpips(CPU)
    assert found is not None
    assert found.network.name == "LPIPS (alexnet)"
    assert found.hashes[ALEX] == sha256_of(made)
    assert found.hashes["lpips/weights/v0.1/alex.pth"].startswith("df73285e")


def test_the_users_own_comes_before_torchs_cache(own: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vouch(monkeypatch, made)
    put(made, own / ALEX)
    (own.parent / "torch/hub/checkpoints" / ALEX).write_bytes(b"broken")
    assert load_lpips(CPU) is not None
    monkeypatch.setenv("OSTEC_MODELS", "")
    with pytest.raises(AssetError, match=r"checkpoints/alexnet-owt-7be5be79.pth is damaged \(6 bytes, expected"):
        load_lpips(CPU)


def test_the_first_backbone_that_is_asked_for_is_taken(own: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vouch(monkeypatch, made)
    put(made, own / ALEX)
    (own / VGG).write_bytes(b"broken")
    found = load_lpips(CPU, ("alexnet", "vgg16"))
    assert found is not None
    assert found.network.backbone == "alexnet"
    with pytest.raises(AssetError, match=VGG):
        load_lpips(CPU)


def test_a_file_of_another_sum_is_not_read(own: Path, made: Path) -> None:
    """The manifest's own entry: its SHA-256 begins with the eight digits of the file's name."""
    for entry in assets.load_manifest("lpips").files:
        assert f"-{entry.sha256[:8]}." in entry.name
    put(made, own / "lpips" / ALEX)
    with pytest.raises(AssetError, match=rf"lpips/{ALEX} is damaged \(\d+ bytes, expected 244408911\)\.$"):
        load_lpips(CPU)


def test_a_file_of_the_right_size_and_another_sum_is_not_read(
    own: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vouch(monkeypatch, made)
    content = bytearray(made.read_bytes())
    content[-1000] ^= 1
    (own / ALEX).write_bytes(content)
    with pytest.raises(AssetError, match=r"is damaged \(sha256 [0-9a-f]{64}, expected [0-9a-f]{64}\)\.$"):
        load_lpips(CPU)


def test_tensors_of_another_network_are_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, own / ALEX)
    vouch(monkeypatch, own / ALEX)
    with pytest.raises(WeightsError, match=rf"{ALEX} does not fit alexnet: classifier.1.bias missing; .*\.$"):
        load_lpips(CPU)


class _Command:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.target),))


def hostile(path: Path, trace: Path, kind: str) -> None:
    content = {"features.0.weight": _Command(trace)}
    if kind == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, int(kind)))


@pytest.mark.parametrize("kind", ["torch", "2", "4"])
def test_a_pickle_that_would_run_code_runs_none(own: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Even one whose sum the manifest vouches for."""
    trace = own / "trace"
    hostile(own / ALEX, trace, kind)
    vouch(monkeypatch, own / ALEX)
    with pytest.raises(WeightsError, match=rf"{ALEX} does not hold plain tensors alone\.$"):
        load_lpips(CPU)
    assert not trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_broken_off_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    path = own / ALEX
    tensors = backbone_tensors("alexnet")
    if not zipped:  # the older one of the two published files is of that format
        tensors = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    vouch(monkeypatch, path)
    whole = load_lpips(CPU)
    assert whole is not None
    for share in (0.0, 0.001, 0.5, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(AssetError, match=rf"{ALEX} is damaged \("):
            load_lpips(CPU)
        vouch(monkeypatch, path)  # as if that were the expected file
        with pytest.raises(WeightsError, match=rf"{ALEX} does not hold plain tensors alone\.$"):
            load_lpips(CPU)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {1: torch.zeros(1)}, {"a": 1.0}])
def test_what_is_no_table_of_tensors_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> None:
    torch.save(content, own / ALEX)
    vouch(monkeypatch, own / ALEX)
    with pytest.raises(WeightsError, match=rf"{ALEX} does not hold tensors by name\.$"):
        load_lpips(CPU)


def test_models_without_a_generator_have_no_lpips(own: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vouch(monkeypatch, made)
    put(made, own / ALEX)
    bare, whole = (load_models(CPU, CompleteSettings(iterations=k)) for k in (0, 1))
    assert bare.perceptual is None
    assert ALEX not in bare.hashes
    assert isinstance(whole.perceptual, Lpips)
    assert whole.hashes[ALEX] == sha256_of(made)
    assert "lpips/weights/v0.1/alex.pth" in whole.hashes
