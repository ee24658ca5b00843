"""The data card says what the rows say."""

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


def test_a_licence_cannot_break_the_table(tmp_path: Path) -> None:
    write_card(tmp_path / "R.md", [], [Build(0, 2, 7, 0, "a|b\nc")], {"settings": {}, "threads": 1, "shard_size": 5})
    assert "| 00000 to 00001 | 7 | a\\|b\\nc |" in (tmp_path / "R.md").read_text()
