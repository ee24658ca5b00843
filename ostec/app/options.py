"""Types of options that several commands share, written as tyro reads them."""

import functools
from typing import Annotated, TypeVar

from tyro.conf import Positional, arg

T = TypeVar("T")


def _default(value: str) -> str:
    """What the help says of a default: nothing where there is none."""
    return "" if value in ("None", "False", "") else f"(default: {value})"


option = functools.partial(arg, help_behavior_hint=_default)
"""``tyro.conf.arg``, with no more said of an option that is off or empty."""

Flat = Annotated[T, arg(name="")]
"""A group of options whose names have no prefix."""
Flag = Annotated[bool, option()]
Folder = Annotated[str, option(metavar="DIR")]
OutFolder = Annotated[str, option(aliases=["-o"], metavar="DIR")]
"""Where the results go."""
Quiet = Annotated[bool, option(aliases=["-q"])]
Verbose = Annotated[bool, option(aliases=["-v"])]
DatasetFolder = Annotated[str, Positional, option(metavar="DS")]
"""A dataset that is there."""
NewDataset = Annotated[str, option(aliases=["-o"], metavar="DS")]
"""Folder of a dataset that is written."""
