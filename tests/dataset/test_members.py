"""Names of members and of files lead to each other, and what refers to them follows."""

import pytest

from ostec.dataset.records import ending_of, face_key, file_name, renamed


@pytest.mark.parametrize(
    ("rest", "ending"),
    [
        (".png", "uv.png"),
        (".npz", "mesh.npz"),
        (".json", "json"),
        ("_frontal.png", "frontal.png"),
        ("_head.glb", "head.glb"),
        ("_head_eye_left.png", "head_eye_left.png"),
        ("_views/left_render.png", "views.left_render.png"),
    ],
)
def test_endings_and_file_names_lead_to_each_other(rest: str, ending: str) -> None:
    assert ending_of(rest) == ending
    assert file_name(face_key("ab", 2), ending) == f"ab_2{rest}"


def test_only_the_names_in_obj_and_mtl_files_change() -> None:
    obj = b"# mtllib x\nmtllib x_head.mtl\r\nv 1 2 3\nusemtl x_head.mtl\n"
    mtl = b"newmtl face\nKd 1 1 1\nmap_Kd  a b.png\nmap_Kd x_head_face.png"
    assert renamed("head.obj", obj, str.upper) == obj.replace(b"lib x_head.mtl", b"lib X_HEAD.MTL")
    changed = b"newmtl face\nKd 1 1 1\nmap_Kd  A B.PNG\nmap_Kd X_HEAD_FACE.PNG"
    assert renamed("head.mtl", mtl, str.upper) == changed
    assert renamed("head.glb", obj, str.upper) == obj
