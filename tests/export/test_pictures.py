"""The projected views as files, and a head drawn over its photo."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import OutputError
from ostec.core.types import TexturedFace
from ostec.export.pictures import overlay_head, write_views
from ostec.heads.parts import Head, HeadPart
from ostec.io.images import read_image
from tests.toy import toy_face, toy_topology


def test_every_view_is_written_whole(result: TexturedFace, tmp_path: Path) -> None:
    written = write_views(tmp_path, "ann", result.views)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "ann_views/front_render.png",
        "ann_views/front_trust.png",
        "ann_views/front_generated.png",
        "ann_views/front.npz",
    ]
    view = result.views[0]
    for path, expected in zip(written, (view.render, view.trust[..., None], view.generated), strict=False):
        np.testing.assert_allclose(read_image(path), np.broadcast_to(expected, (16, 16, 3)), atol=0.5 / 255 + 1e-6)
    with np.load(written[-1], allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["w"], view.latent)


def test_no_views_leave_no_files(tmp_path: Path) -> None:
    assert write_views(tmp_path, "ann", ()) == []


def test_a_folder_in_the_way_is_one_sentence(result: TexturedFace, tmp_path: Path) -> None:
    (tmp_path / "ann_views").write_text("not a folder")
    with pytest.raises(OutputError, match=r"^[^\n]*ann_views[^\n]*\.$"):
        write_views(tmp_path, "ann", result.views)


def test_head_is_drawn_over_the_photo_where_it_faces_the_viewer() -> None:
    """A square of two triangles, seen from the front, and the same from behind."""
    corners = np.float32([[-40, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0]])
    triangles = np.int32([[0, 1, 2], [0, 2, 3]])

    def drawn(name: str, order: np.ndarray) -> np.ndarray:
        part = HeadPart(name, corners, corners * 0 + np.float32([0, 0, 1]), order, corners[:, :2] * 0, (1, 1, 1))
        none = np.empty(0, np.float32)
        return overlay_head(photo, face, Head("toy", "MIT", "", (part,), none, none, 0.0), 64)

    face = toy_face(toy_topology())
    photo = np.full((256, 256, 3), 0.5, np.float32)
    front = drawn("face", triangles)
    marked = np.abs(front - 0.5).max(-1) > 0.05
    rows, columns = np.nonzero(marked)
    # The square takes 1 / 1.3 of the picture's side.
    assert abs(np.ptp(rows) - 64 / 1.3) < 3
    assert abs(np.ptp(columns) - 64 / 1.3) < 3
    np.testing.assert_allclose(drawn("face", triangles[:, ::-1]), 0.5, atol=1e-6)
