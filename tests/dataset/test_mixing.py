"""Faces are mixed within their classes, and a mix depends on nothing but seed and index."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from ostec.core.errors import UsageError
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.mixing import WEIGHTS, Mixer, classify, mix_attributes, require_weights
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces, latents_of


def words(n: int) -> str:
    attributes = {"Gender": n % 2, "Age": 20 + n}
    return (
        f"photo {n} attributes={json.dumps(attributes)}"
        + " faces=2" * (n == 0)
        + " nolatents" * (n == 5)
        + " soft" * (n % 4 == 3)
    )


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixing")
    photos = {f"{n:02d}.jpg": words(n) for n in range(12)} | {"x.jpg": "no attributes here"}
    return build_faces(folder / "ds", write_photos(folder / "in", photos), shard_size=5)


def test_classes_are_made_of_values_and_of_parts_of_numbers(ds: Path) -> None:
    classes = classify(FinishedDataset(ds), ("Gender", "Age"))
    assert sorted(classes.faces) == [(g, f"part {k} of 3") for g in "01" for k in (1, 2, 3)]
    assert {len(places) for places in classes.faces.values()} == {2, 3}
    assert classes.left_out == 1
    names = [f"{gender} / part {part} of 3" for gender in "01" for part in (1, 2, 3)]
    each = ", ".join(f"{name} ({len(classes.faces[tuple(name.split(' / '))])})" for name in names)
    assert classes.pairs == 5 * 1 + 3
    assert classes.told() == f"Classes by Gender, Age: 6 with 13 faces: {each}; 1 face is in none."
    assert classify(FinishedDataset(ds)).by == ("Gender", "Age")  # of Gender, Age, Beard those that there are


def test_without_attributes_yaw_and_brightness_stand_in(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": f"photo {n} yaw={[-30, 30][n % 2]}" for n in range(6)}
    ds = build_faces(tmp_path / "ds", write_photos(tmp_path / "in", photos))
    classes = classify(FinishedDataset(ds))
    assert classes.by == ("yaw_deg", "brightness")
    assert sorted(classes.faces) == [("-30.0", "0.3"), ("30.0", "0.3")]
    assert classes.told() == (
        "Classes by yaw_deg, brightness (there are no attributes Gender, Age, Beard): 2 with 6 faces: "
        "-30.0 / 0.3 (3), 30.0 / 0.3 (3)."
    )


class NoBrightness(FinishedDataset):
    """As mode hard makes them: nothing of a texture is the photo's."""

    def faces_table(self):
        table = super().faces_table()
        return table.set_column(table.column_names.index("brightness"), "brightness", pyarrow.nulls(len(table)))


def test_columns_that_no_face_has_do_not_stand_in(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": f"photo {n} yaw={5 * n}" for n in range(6)}
    source = NoBrightness(build_faces(tmp_path / "ds", write_photos(tmp_path / "in", photos)))
    classes = classify(source)
    assert classes.by == ("yaw_deg",)
    assert list(classes.faces) == [(f"part {k} of 3",) for k in (1, 2, 3)]  # each value is of one face alone
    with pytest.raises(UsageError, match=r"No face of .* has brightness; attributes: none\."):
        classify(source, ("brightness",))


@pytest.mark.parametrize(
    ("one", "other", "mixed"),
    [
        ({"Age": 30}, {"Age": 40}, {"Age": 37.5}),
        (
            {"Age": 30, "sex": "f", "hat": True},
            {"Age": 30, "sex": "f", "hat": True},
            {"Age": 30, "sex": "f", "hat": True},
        ),
        ({"sex": "f", "hat": True, "Age": 3}, {"sex": "m", "hat": False}, {}),
    ],
)
def test_attributes_of_a_mix_are_common_or_between(one: dict, other: dict, mixed: dict) -> None:
    found = mix_attributes(one, other, 0.25)
    assert found == mixed
    assert list(map(type, found.values())) == list(map(type, mixed.values()))


def test_a_mix_lies_between_two_photos_of_one_class(ds: Path) -> None:
    source = FinishedDataset(ds)
    classes = classify(source, ("Gender",))
    mixer = Mixer(classes, seed=3)
    rows = {row["key"]: row for row in source.faces()}
    seen = set()
    for index in range(40):
        mix = mixer.draw(index)
        one, other = rows[mix.one], rows[mix.other]
        genders = {json.loads(row["attributes"])["Gender"] for row in (one, other)}
        assert genders == {int(mix.group[0])}
        assert one["id"] != other["id"]
        assert "05.jpg" not in (one["source"], other["source"])  # it has no latents
        assert WEIGHTS[0] <= mix.weight <= WEIGHTS[1]
        first, second = (latents_of(words(int(row["source"][:2])))["front"] for row in (one, other))
        assert mix.attributes == {
            "Gender": int(mix.group[0]),
            "mixed_one": mix.one,
            "mixed_other": mix.other,
            "mixed_share": mix.weight,
        }
        np.testing.assert_allclose(mix.latent, mix.weight * first + (1 - mix.weight) * second, atol=1e-6)
        seen.add((mix.one, mix.other, mix.weight))
    assert len(seen) == 40


def test_a_mix_follows_from_seed_and_index(ds: Path) -> None:
    classes = classify(FinishedDataset(ds), ("Gender",))
    forwards, backwards = Mixer(classes, 1), Mixer(classes, 1)
    mixes = [forwards.draw(index) for index in range(8)]
    again = [backwards.draw(index) for index in reversed(range(8))][::-1]
    assert [(m.one, m.other, m.weight) for m in mixes] == [(m.one, m.other, m.weight) for m in again]
    assert Mixer(classes, 2).draw(0).weight != mixes[0].weight


def test_what_cannot_be_mixed_has_a_sentence(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": f"photo {n} nolatents" for n in range(4)}
    source = FinishedDataset(build_faces(tmp_path / "ds", write_photos(tmp_path / "in", photos)))
    with pytest.raises(UsageError, match="Hardly any two faces have latents of their front view"):
        Mixer(classify(source, ("mode",)), 0).draw(0)
    with pytest.raises(UsageError, match=r"No face of .* has person; attributes: none"):
        classify(source, ("person",))
    with pytest.raises(UsageError, match="has no two photos in the same class of key"):
        classify(source, ("key",))
    with pytest.raises(UsageError, match=r"belong to another toy\.safetensors"):
        require_weights(source, "toy.safetensors", "11" * 32)
    require_weights(source, "toy.safetensors", "00" * 32)
