"""Words of error sentences."""

from collections import OrderedDict

import pytest

from ostec.core.errors import kind_of


@pytest.mark.parametrize(
    ("value", "kind"), [(3, "an int"), ([], "a list"), (None, "a NoneType"), (OrderedDict(), "an OrderedDict")]
)
def test_a_kind_has_its_article(value: object, kind: str) -> None:
    assert kind_of(value) == kind
