"""A card's file says to tools what it is, and leaves alone what its reader wrote."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ostec.dataset.readme import ASIDE, Loading, front_matter, write_readme


def test_what_stands_below_the_card_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "README.md"
    write_readme(path, "one\n")
    own = path.read_bytes()
    path.write_bytes(own + b"Mine, with \xff and <!-- a comment -->\n")
    with caplog.at_level(logging.WARNING):
        write_readme(path, "two\nlines\n")
    assert path.read_bytes().startswith(b"two\nlines\n<!-- ostec ")
    assert path.read_bytes().endswith(b"kept. -->\nMine, with \xff and <!-- a comment -->\n")
    write_readme(path, "one\n")
    assert path.read_bytes() == own + b"Mine, with \xff and <!-- a comment -->\n"
    assert caplog.messages == []
    assert not (tmp_path / ASIDE).exists()


@pytest.mark.parametrize("change", [lambda t: t.replace("one", "uno"), lambda t: f"mine\n{t}", lambda t: t[:20]])
def test_a_card_that_was_changed_is_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[str], str]
) -> None:
    path = tmp_path / "README.md"
    write_readme(path, "one\n")
    changed = change(path.read_text())
    path.write_text(changed)
    with caplog.at_level(logging.WARNING):
        write_readme(path, "two\n")
    assert path.read_text() == changed
    assert (tmp_path / ASIDE).read_text().startswith("two\n<!-- ostec ")
    assert "README.md was changed by hand and stays as it is; the new card is in README.new.md" in caplog.text


def test_front_matter_by_hand() -> None:
    text = front_matter("A", 1000, ["CC0", "x"], Loading("s/*.tar", (("uv.png", "image"), ("__key__", "string"))))
    assert text.splitlines() == [
        "---",
        'pretty_name: "A"',
        'license: ["cc0-1.0", "other"]',
        'license_name: "x"',
        'tags: ["face", "texture", "uv-map", "ostec"]',
        'size_categories: ["1K<n<10K"]',
        "configs:",
        "- config_name: default",
        '  data_files: "s/*.tar"',
        "dataset_info:",
        "- config_name: default",
        "  features:",
        '  - name: "uv.png"',
        "    dtype: image",
        '  - name: "__key__"',
        "    dtype: string",
        "---",
    ]
    assert front_matter("A", 999, ["MIT"], Loading("")).splitlines()[2:] == [
        'license: "mit"',
        'tags: ["face", "texture", "uv-map", "ostec"]',
        'size_categories: ["n<1K"]',
        "---",
    ]
    assert "configs" not in front_matter("A", 0, [], Loading("s/*.tar"))
