"""What was put into a dataset comes back as tensors, each face once whoever reads."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ostec.core.errors import AssetError, ImageError, UsageError
from ostec.dataset import TextureDataset, TextureStream
from ostec.dataset.manifest import read_manifest
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import SIDE, build_faces, latents_of, provenance_of, texture_of

ROOT = Path(__file__).resolve().parents[2]
WORDS = {f"{n:02d}.jpg": f"photo {n}" + " faces=2" * (n == 3) + " noface" * (n == 5) for n in range(14)}


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("textures")
    return build_faces(folder / "ds", write_photos(folder / "in", WORDS))


def test_a_face_comes_back_as_it_went_in(ds: Path) -> None:
    dataset = TextureDataset(ds, ("texture", "provenance", "record", "latents"))
    assert len(dataset) == 14
    sample = dataset[4]
    words = WORDS["03.jpg"]
    assert sample["key"].endswith("_2")
    assert sample["texture"].shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(sample["texture"].permute(1, 2, 0).numpy(), texture_of(words, 1), atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(sample["provenance"].numpy(), provenance_of(1))
    assert (sample["record"]["source"], sample["record"]["face"]) == ("03.jpg", 2)
    assert list(sample["latents"]) == ["front", "left", "right"]
    np.testing.assert_array_equal(sample["latents"]["left"].numpy(), latents_of(words)["left"])
    assert dataset[-1]["key"] == dataset.keys[13]


def test_order_is_that_of_the_plan(ds: Path) -> None:
    rows = [row["key"] for row in read_manifest(ds / "manifest.parquet") if row["status"] == "done"]
    assert TextureDataset(ds).keys == rows
    assert [sample["key"] for sample in TextureStream(ds)] == rows


def test_the_lines_of_the_documentation_run(ds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"(?s)```python\n(.*?)```", text)
    lines = [line for line in snippet.splitlines() if line.strip()]
    assert len(lines) == 3
    monkeypatch.chdir(ds.parent)
    shutil.copytree(ds, ds.parent / "DS")
    names: dict = {}
    exec(compile(snippet, "datasets.md", "exec"), names)
    batches = list(names["loader"])
    assert batches[0]["texture"].shape == (8, 3, SIDE, SIDE)
    assert len({key for batch in batches for key in batch["key"]}) == 14


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, about threads of the tests
def test_workers_and_ranks_share_every_face_once(ds: Path) -> None:
    found = []
    for rank in range(2):
        stream = TextureStream(ds, seed=1, mix=2, rank=rank, ranks=2)
        found += [sample["key"] for sample in stream]
    assert sorted(found) == sorted(TextureDataset(ds).keys)
    loader = DataLoader(TextureStream(ds, seed=1), batch_size=3, num_workers=2)
    found = [key for batch in loader for key in batch["key"]]
    assert sorted(found) == sorted(TextureDataset(ds).keys)


def test_shuffling_follows_from_seed_and_epoch(ds: Path) -> None:
    def order(seed: int | None, epoch: int = 0) -> list[str]:
        stream = TextureStream(ds, seed=seed)
        stream.set_epoch(epoch)
        return [sample["key"] for sample in stream]

    assert order(1) == order(1)
    assert len({tuple(order(1)), tuple(order(2)), tuple(order(1, 1)), tuple(order(None))}) == 4
    # With mix, faces of different shards follow each other.
    shards = [TextureDataset(ds).keys.index(key) // 4 for key in order(1)]
    assert sum(a != b for a, b in itertools.pairwise(shards)) > 3


def test_without_state_the_manifest_tells(ds: Path, tmp_path: Path) -> None:
    shutil.copytree(ds, tmp_path / "ds", ignore=shutil.ignore_patterns("state"))
    assert TextureDataset(tmp_path / "ds").keys == TextureDataset(ds).keys
    (tmp_path / "ds/manifest.parquet").unlink()
    with pytest.raises(UsageError, match="has no finished shard yet"):
        TextureDataset(tmp_path / "ds")


def test_of_a_running_build_only_finished_shards_are_read(
    ds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(ds, tmp_path / "ds")
    (tmp_path / "ds/state/sealed/00001.jsonl").unlink()
    keys = TextureDataset(ds).keys
    assert TextureDataset(tmp_path / "ds").keys == keys[:5] + keys[8:]
    assert caplog.messages == ["Left out: 1 shard that is not finished."]


def test_damage_and_wrong_use_have_a_sentence(ds: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no dataset"):
        TextureDataset(tmp_path)
    with pytest.raises(ValueError, match=r"expected fields out of texture, .*, got colour"):
        TextureDataset(ds, ("colour",))  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="expected an index below 14, got 14"):
        TextureDataset(ds)[14]
    with pytest.raises(UsageError, match="has 4 shards with faces, fewer than the 5 ranks"):
        TextureStream(ds, rank=0, ranks=5)
    shutil.copytree(ds, tmp_path / "ds")
    shard = tmp_path / "ds/shards/00000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"IDAT", b"IDAX"))
    with pytest.raises(ImageError, match=r"00000\.tar: .*_1\.uv\.png is not a picture"):
        TextureDataset(tmp_path / "ds")[0]
    shard.write_bytes(data[:5000])
    with pytest.raises(AssetError, match=r"00000\.tar is damaged"):
        TextureDataset(tmp_path / "ds")[3]


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("shard", "../../x.tar", r"shard is '\.\./\.\./x\.tar'"),
        ("shard", "/etc/00000.tar", "shard is"),
        ("offset", -512, "offset is"),
        ("offset", 512, "is damaged"),
        ("size", 10**12, "is damaged"),
        ("key", "../x_1", "key is"),
    ],
)
def test_rows_cannot_lead_out_of_the_dataset(
    ds: Path, tmp_path: Path, column: str, value: object, sentence: str
) -> None:
    shutil.copytree(ds, tmp_path / "ds")
    path = tmp_path / "ds/state/sealed/00000.jsonl"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, json.dumps({**json.loads(first), column: value}), *rest]) + "\n")
    with pytest.raises(AssetError, match=sentence):
        TextureDataset(tmp_path / "ds")[0]


def test_members_with_names_that_lead_elsewhere_are_refused(ds: Path, tmp_path: Path) -> None:
    shutil.copytree(ds, tmp_path / "ds")
    shard = tmp_path / "ds/shards/00000.tar"
    data = bytearray(shard.read_bytes())
    data[:3] = b"../"
    shard.write_bytes(data)
    with pytest.raises(AssetError, match="expected a member at byte 0, found none"):
        TextureDataset(tmp_path / "ds")[0]


def test_reading_needs_no_ray(ds: Path) -> None:
    program = f"""
import sys
import ostec.dataset
assert "torch" not in sys.modules
sys.modules["ray"] = None
from ostec.dataset import TextureDataset
print(TextureDataset({str(ds)!r})[0]["texture"].shape)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(torch.Size([3, SIDE, SIDE]))
