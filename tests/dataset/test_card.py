"""The data card says what the rows say."""

import json
from pathlib import Path

from ostec.dataset.card import write_card
from ostec.dataset.plan import Build
from tests.dataset.toy import build, write_photos


def test_the_card_counts_photos_faces_and_reasons(tmp_path: Path) -> None:
    words = {"a.jpg": "faces=3 hand", "b.jpg": "noface", "c.jpg": "no noface", "d.jpg": "one", "e.jpg": "one"}
    build(tmp_path / "ds", write_photos(tmp_path / "in", words))
    text = (tmp_path / "ds/README.md").read_text()
    for line in (
        "| faces | 4 |",
        "| photos done | 2 |",
        "| photos that failed | 2 |",
        "| copies of other photos | 1 |",
        "| photos planned | 5 |",
        "| 00000 to 00000 | 4 | CC0 |",
        f"| toy.safetensors | {'00' * 32} |",
        "       0 to 128             4  ########################################",
        "Occluders: hand 3.",
        "| 2 | detect: No face was found. |",
        "Settings: mode auto, iterations 200,",
    ):
        assert line in text, line


def test_attributes_are_told_with_where_they_are_from(tmp_path: Path) -> None:
    row = {"status": "done", "face": 1, "faces": 1}
    rows = [
        {**row, "attributes": json.dumps({"a|b": "x|y", "Age": n, **({"hat": n > 2} if n else {})})} for n in range(20)
    ]
    builds = [
        Build(0, 1, 10, 0, "CC0", "t.csv, SHA-256 00"),
        Build(1, 1, 10, 0, "CC0"),
        Build(2, 1, 10, 0, "CC0", "sources"),
    ]
    values = {"settings": {}, "threads": 1, "shard_size": 10}
    write_card(tmp_path / "R.md", rows, builds, values)
    text = (tmp_path / "R.md").read_text()
    for line in (
        "From: t.csv, SHA-256 00; what the sources brought. They can be personal data.",
        "| Age | 20 | 0 to 19, mean 9.5 |",
        "| a\\|b | 20 | x\\|y (20) |",
        "| hat | 19 | true (17), false (2) |",
        "Made by `ostec dataset build`, each from one photo.",
    ):
        assert line in text, line
    write_card(tmp_path / "R.md", [row], builds, values)
    assert "## Attributes" not in (tmp_path / "R.md").read_text()


def test_a_licence_cannot_break_the_table(tmp_path: Path) -> None:
    write_card(tmp_path / "R.md", [], [Build(0, 2, 7, 0, "a|b\nc")], {"settings": {}, "threads": 1, "shard_size": 5})
    assert "| 00000 to 00001 | 7 | a\\|b\\nc |" in (tmp_path / "R.md").read_text()
