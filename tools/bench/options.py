"""What the benches of the projection share on the command line, and the file of figures."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ostec.core.errors import OutputError
from ostec.io.files import write_atomic

DEVICES = ("auto", "cpu", "cuda")


def writable(text: str) -> Path:
    """A file that could be written, so that no figure is lost after a long measurement. For argparse."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file.")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist.")
    return path


def readable(text: str) -> Path:
    """A file that there is. For argparse."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"the file {text} does not exist.")
    return path


def device_of(parser: argparse.ArgumentParser, asked: str) -> torch.device:
    """Where to compute; ends the program where there is no such device."""
    if asked == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda cannot be used: no CUDA device was found.")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def plan_of(parser: argparse.ArgumentParser, kind: Any, asked: argparse.Namespace) -> Any:
    """A plan of that kind from the options of the same names; ends the program where it makes no sense."""
    values = {f.name: getattr(asked, f.name) for f in fields(kind) if hasattr(asked, f.name)}
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    except ValueError as error:
        parser.error(f"--{str(error).replace('_', '-', 1)}")


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the file, if one was asked for; what is no number becomes null."""
    if path is None:
        return
    text = json.dumps(_finite(figures), indent=2, sort_keys=True, allow_nan=False)
    try:
        write_atomic(path, (text + "\n").encode())
    except OutputError as error:
        raise SystemExit(str(error)) from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
