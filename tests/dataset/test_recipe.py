"""Limits by quantile, and what is exported of a face that the recipe measured."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ostec.core.errors import UsageError
from ostec.dataset.recipe import resolved, write_measures


def faces() -> pa.Table:
    values = [json.dumps({"symmetry": float(k), "name": "x"}) for k in range(11)]
    return pa.table({"key": [f"{k}_1" for k in range(11)], "attributes": values})


def test_a_share_stands_for_the_quantile_which_is_told() -> None:
    told: list[str] = []
    asked = ["symmetry<=90%", "Gender=female", "symmetry>=2", "symmetry > 12.5 %"]
    assert resolved(asked, faces(), told.append) == ["symmetry<=9.0", "Gender=female", "symmetry>=2", "symmetry>1.25"]
    assert told[0] == "symmetry <= 9: the quantile of 90 % of 11 faces."
    assert len(told) == 2


@pytest.mark.parametrize("text", ["beauty<=90%", "name<=50%", "symmetry<=101%"])
def test_a_share_of_nothing_or_of_more_than_all_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="asks for a share"):
        resolved([text], faces(), lambda _: None)


def test_light_and_attributes_are_written_in_the_published_shape(tmp_path: Path) -> None:
    attributes = {f"light{k}": k / 10 for k in range(1, 9)} | {"smile": 0.5}
    write_measures(tmp_path, "000007", attributes)
    light = np.load(tmp_path / "lights" / "000007.npy")
    assert light.shape == (1, 9, 1, 1)
    assert light.ravel() == pytest.approx([1, *(k / 10 for k in range(1, 9))])
    assert json.loads((tmp_path / "attributes" / "000007.json").read_text()) == attributes
    write_measures(tmp_path, "000008", {"age": 30})  # nothing that the recipe measured
    assert not (tmp_path / "lights" / "000008.npy").exists()
