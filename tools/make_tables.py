"""Write docs/settings.md: one table for each settings dataclass, with the fields' defaults and docstrings."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs/settings.md"
CLASSES = {
    "One photo": (
        "pipeline.settings.CompleteSettings",
        "pipeline.settings.InvertSettings",
        "pipeline.settings.ObserveSettings",
    ),
    "Detection and landmarks": ("detect.settings.DetectSettings", "detect.settings.LandmarkSettings"),
    "Fit": (
        "fit.settings.DenseFitSettings",
        "fit.settings.MorphableFitSettings",
        "fit.settings.JointFitSettings",
        "fit.settings.RgbFitSettings",
    ),
    "Mask": (
        "mask.settings.MaskSettings",
        "mask.settings.SpectacleSettings",
        "mask.settings.HandSettings",
        "mask.settings.MosaicSettings",
        "mask.settings.CoverSettings",
    ),
    "Light": ("light.settings.LightSettings",),
    "Prior": ("prior.settings.PriorSettings", "prior.settings.SkinSettings"),
    "Projection": (
        "complete.generator.GeneratorSettings",
        "project.settings.ProjectionSettings",
        "complete.settings.PortraitSettings",
        "complete.settings.DiffusionSettings",
        "complete.settings.TurnSettings",
    ),
    "Stitching": (
        "stitch.settings.ViewSettings",
        "stitch.settings.ColourSettings",
        "stitch.settings.BlendSettings",
        "stitch.settings.EyeSettings",
        "stitch.settings.GrainSettings",
    ),
    "UV-IDM": ("pipeline.settings.UvIdmSettings",),
    "Several photos": ("complete.settings.FuseSettings",),
    "Tracking": (
        "pipeline.settings.TrackSettings",
        "detect.settings.FollowSettings",
        "fit.settings.TrackFitSettings",
    ),
    "Full head": (
        "pipeline.settings.FullHeadSettings",
        "heads.settings.HeadTextureSettings",
    ),
    "Training": (
        "train.prior.PriorTrainSettings",
        "train.settings.GeneratorTrainSettings",
        "train.settings.DiffusionTrainSettings",
    ),
}
HEAD = """# Settings

<!-- Written by tools/make_tables.py from the dataclasses: edit the docstrings there, then run it. -->

Every constant of the method is a field of one of these frozen dataclasses. The default is the recommendation. Lengths
named `_mm` are millimetres on the face, where the outer eye corners are 90 mm apart.

Where a class has an option prefix, its fields are options of `ostec complete` (`--project.ms-ssim 2`) and keys of a
`--config` file (`[project]`, `ms_ssim = 2`). From Python, they are part of `CompleteSettings`. The others are
constants of the code.
"""


def plain(docstring: str) -> str:
    """One line of Markdown: no roles, single backticks."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)
    return " ".join(text.replace("``", "`").split())


def shown(default: ast.expr) -> str:
    """A default as it stands in the code; of a nested dataclass, its name."""
    text = ast.unparse(default)
    factory = re.fullmatch(r"field\(default_factory=(\w+)\)", text)
    return f"[`{factory[1]}`](#{factory[1].lower()})" if factory and factory[1].endswith("Settings") else f"`{text}`"


def prefixes(settings: Any, prefix: str = "") -> dict[str, str]:
    """Name of each dataclass within another -> what its options begin with."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(settings):
        made: Any = field.default_factory
        if hasattr(made, "__dataclass_fields__"):
            inner = f"{prefix}{field.name}."
            found |= {made.__name__: inner, **prefixes(made, inner)}
    return found


def table(path: str, options: Mapping[str, str]) -> str:
    """The section of one dataclass."""
    module, _, name = path.rpartition(".")
    settings = getattr(importlib.import_module(f"ostec.{module}"), name)
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(definition, ast.ClassDef)
    lines = [f"### {name}", "", f"`ostec.{module}.{name}`. {plain((settings.__doc__ or '').split('Raises:')[0])}", ""]
    if name in options:
        lines[-2] += f" Option prefix: `--{options[name]}`"
    lines += ["| field | default | meaning |", "|---|---|---|"]
    for field, after in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or field.value is None:
            continue
        text = after.value if isinstance(after, ast.Expr) else None
        meaning = plain(str(text.value)).replace("|", "\\|") if isinstance(text, ast.Constant) else ""
        lines.append(f"| `{ast.unparse(field.target)}` | {shown(field.value)} | {meaning} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    parts, options = [HEAD], prefixes(importlib.import_module("ostec.pipeline.settings").CompleteSettings)
    for title, paths in CLASSES.items():
        parts += [f"## {title}\n", *(f"{table(path, options)}\n" for path in paths)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
