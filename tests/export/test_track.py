"""Files and packets of a track, to the column and byte."""

import csv
import io
import struct
import uuid
from pathlib import Path

import numpy as np

from ostec.export.track import (
    COLUMNS,
    TrackRow,
    live_link_csv,
    live_link_packet,
    track_csv,
    vmc_messages,
    write_track_npz,
)
from ostec.heads.rig import ARKIT
from ostec.render.geometry import rotation_from_pose


def row(index: int = 3, time_s: float = 3723.5) -> TrackRow:
    expression = np.linspace(0, 1, 52).astype(np.float32)
    eyes = np.array([[5.0, -10.0], [6.0, -12.0]])
    return TrackRow(
        index, time_s, True, 0.9, rotation_from_pose(4, 20, -7), np.array([1.0, 2.0, -600.0]), expression, eyes
    )


def test_csv_has_a_column_for_everything() -> None:
    (one,) = csv.DictReader(io.StringIO(track_csv([row()]).decode()))
    assert tuple(one) == COLUMNS
    assert len(COLUMNS) == 3 + 6 + 52 + 4
    assert [one[name] for name in ("frame", "time_s", "ok", "yaw_deg", "tz_mm")] == [
        "3", "3723.500000", "1", "20.0000", "-600.0000",
    ]  # fmt: skip
    assert float(one["tongueOut"]) == 1
    assert float(one["right_eye_yaw_deg"]) == -12


def test_npz_is_read_without_pickles(tmp_path: Path) -> None:
    write_track_npz(tmp_path / "a.npz", [row(), row(4)])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        assert (shapes["rotation"], shapes["pose_deg"], shapes["translation_mm"]) == ((2, 3, 3), (2, 3), (2, 3))
        assert (shapes["expression"], shapes["eyes_deg"]) == ((2, 52), (2, 2, 2))
        assert arrays["expression_names"].tolist() == list(ARKIT)


def test_live_link_faces_csv_is_laid_out_as_the_app_does() -> None:
    head, line, end = live_link_csv([row()]).decode().split("\n")
    names, values = head.split(","), line.split(",")
    assert (len(names), len(values), end) == (63, 63, "")
    assert names[:4] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft"]
    assert names.index("JawRight") < names.index("JawLeft")
    assert names.index("MouthRight") < names.index("MouthLeft")
    parts = ("Head", "LeftEye", "RightEye")
    assert names[-9:] == [f"{part}{angle}" for part in parts for angle in ("Yaw", "Pitch", "Roll")]
    assert values[:2] == ["01:02:03:30.000", "61"]
    named = dict(zip(names, values, strict=True))
    assert abs(float(named["JawLeft"]) - ARKIT.index("jawLeft") / 51) < 1e-6
    assert abs(float(named["HeadYaw"]) - np.radians(20)) < 1e-6


def test_a_live_link_packet_is_version_6_with_61_big_endian_floats() -> None:
    device = uuid.UUID(int=7)
    packet = live_link_packet(row(), "face", device, 30.0)
    assert packet[:41] == struct.pack("<I", 6) + b"$" + str(device).encode()
    length = struct.unpack(">i", packet[41:45])[0]
    assert packet[45 : 45 + length] == b"face"
    frame, part, fps, per = struct.unpack(">ifii", packet[49:65])
    assert (frame, part, fps, per) == (223410, 0, 30, 1)
    assert packet[65] == 61
    values = struct.unpack(">61f", packet[66:])
    assert np.allclose(values[:52], row().expression)


def test_vmc_names_bones_and_expressions_as_receivers_expect() -> None:
    messages = vmc_messages(row())
    assert messages[0] == ("/VMC/Ext/OK", [1])
    assert [values[0] for address, values in messages if address == "/VMC/Ext/Bone/Pos"] == [
        "Head",
        "LeftEye",
        "RightEye",
    ]
    assert [values[0] for address, values in messages if address == "/VMC/Ext/Blend/Val"] == list(ARKIT)
    assert messages[-1] == ("/VMC/Ext/Blend/Apply", [])
    for address, values in messages:
        if address == "/VMC/Ext/Bone/Pos":
            assert abs(np.linalg.norm(values[4:]) - 1) < 1e-6  # type: ignore[arg-type]
