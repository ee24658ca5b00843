"""The projected views as files."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import OutputError
from ostec.core.types import TexturedFace
from ostec.export.views import write_views
from ostec.io.images import read_image


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
