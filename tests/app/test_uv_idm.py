"""``ostec uv-idm``: its list may be somebody else's."""

from pathlib import Path

from ostec.app.cli import main
from tests.app.conftest import Refuses


def test_no_photo_of_the_list_is_replaced_and_none_shares_a_name(refuses: Refuses, tmp_path: Path) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "out"
    (tmp_path / "out_uv").mkdir()
    photo = tmp_path / "out_uv/a.png"
    photo.write_bytes(b"mine")
    words = ("uv-idm", "--images-list-file", listed, "--outdir", out)
    listed.write_text(f"{photo}\n")
    refuses("The results of a.png would replace the source", *words)
    listed.write_text("in/a\u202e.jpg\nin/a_.jpg\n", encoding="utf-8")
    refuses("have the same name", *words)
    listed.write_bytes(b"\xff\xfe")
    refuses("cannot be read as a list of paths", *words)
    listed.write_text("a\0b.jpg\n" + "x" * 5000 + ".jpg\n..\n/dev/zero\n")
    assert main([str(word) for word in (*words, "--dry-run")]) == 0
    assert photo.read_bytes() == b"mine"
