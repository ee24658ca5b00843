"""``ostec dataset filter`` and ``split``: parts of a dataset as datasets of their own."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional

from ostec.app.checks import out_path
from ostec.app.console import say
from ostec.app.eval.options import RunOptions
from ostec.app.options import Flag, Flat, Folder, option
from ostec.core.errors import UsageError
from ostec.core.text import counted, shown

if TYPE_CHECKING:
    from ostec.app.dataset.figures import TextureFigures
    from ostec.dataset.finished import FinishedDataset
    from ostec.dataset.selection import Limit

logger = logging.getLogger(__name__)

_OF_TEXTURES = ("symmetry", "energy", "spread", "area_photo")
_TOLERANCE = 1e-6
_RANGES = {
    **dict.fromkeys(("confidence", "photo_share", "brightness", "area_photo"), (0.0, 1.0)),
    **dict.fromkeys(("yaw_deg", "pitch_deg", "face_size_px", "sharpness"), (0.0, math.inf)),
    **dict.fromkeys(("fit_residual_percent", "spread", "symmetry"), (0.0, math.inf)),
}
"""Figure -> what a limit of it can be; others would keep every face, or none."""


def _asked(*limits: "Limit") -> "list[Limit]":
    """Those that were asked for."""
    return [limit for limit in limits if limit.low is not None or limit.high is not None]


@dataclass(frozen=True)
class PhotoLimits:
    """What the manifest says of photo and face."""

    max_yaw: Annotated[float | None, option(metavar="DEGREES")] = None
    """Degrees that the head may be turned to either side."""
    max_pitch: Annotated[float | None, option(metavar="DEGREES")] = None
    """Degrees that it may be raised or lowered."""
    min_confidence: Annotated[float | None, option(metavar="NUMBER")] = None
    """Certainty of the detection, 0 to 1."""
    min_size: Annotated[float | None, option(metavar="PX")] = None
    """Side of the face in the photo, pixels."""
    min_sharpness: Annotated[float | None, option(metavar="NUMBER")] = None
    """Sharpness of the photo's texels; blurred photos have less."""
    min_photo_share: Annotated[float | None, option(metavar="NUMBER")] = None
    """Share of the texels that is from the photo, 0 to 1."""
    min_brightness: Annotated[float | None, option(metavar="NUMBER")] = None
    """Mean luma of the photo's texels, 0 to 1."""
    max_brightness: Annotated[float | None, option(metavar="NUMBER")] = None
    """The same, at most."""
    max_residual: Annotated[float | None, option(metavar="NUMBER")] = None
    """Misfit of the mesh, per cent."""
    single_face: Flag = False
    """Only photos in which one face was completed."""
    no_occluders: Flag = False
    """No face with hands, glasses or hair in front of it."""
    no_warnings: Flag = False
    """No face whose record has warnings."""

    def limits(self) -> "list[Limit]":
        """As limits of columns."""
        from ostec.dataset.selection import Limit

        return _asked(
            Limit("yaw_deg", high=self.max_yaw, absolute=True),
            Limit("pitch_deg", high=self.max_pitch, absolute=True),
            Limit("confidence", low=self.min_confidence),
            Limit("face_size_px", low=self.min_size),
            Limit("sharpness", low=self.min_sharpness),
            Limit("photo_share", low=self.min_photo_share),
            Limit("brightness", self.min_brightness, self.max_brightness),
            Limit("fit_residual_percent", high=self.max_residual),
        )

    def against(self, row: Mapping[str, Any]) -> str:
        """Why a face is left out for something else than a number; empty if it is kept."""
        if self.single_face and row.get("faces") != 1:
            return f"{row.get('faces')} faces are in the photo"
        if self.no_occluders and row.get("occluders"):
            return f"occluded by {', '.join(row['occluders'])}"
        if self.no_warnings and row.get("warnings"):
            return f"warned: {'; '.join(row['warnings'])}"
        return ""


@dataclass(frozen=True)
class TextureLimits:
    """Figures of ostec eval textures, which are measured if any is asked for."""

    max_symmetry: Annotated[float | None, option(metavar="NUMBER")] = None
    """Difference of brightness between left and right, 0 to 255: light from one side."""
    min_energy: Annotated[float | None, option(metavar="NUMBER")] = None
    """Detail, in dB."""
    max_spread: Annotated[float | None, option(metavar="NUMBER")] = None
    """Distance of the identity from the mean of the dataset; faces that the prior draws have 1."""
    min_area_photo: Annotated[float | None, option(metavar="NUMBER")] = None
    """Share of the chart whose colour is the photo's, 0 to 1."""
    no_twins: Flag = False
    """Of near-identical textures, keep the first."""
    work: Annotated[str, option(metavar="DIR")] = ""
    """Folder where the figures are kept for the next call; nothing is kept without it."""

    def limits(self) -> "list[Limit]":
        """As limits of figures."""
        from ostec.dataset.selection import Limit

        return _asked(
            Limit("symmetry", high=self.max_symmetry),
            Limit("energy", low=self.min_energy),
            Limit("spread", high=self.max_spread),
            Limit("area_photo", low=self.min_area_photo),
        )


@dataclass(frozen=True)
class DatasetFilter:
    """Write a dataset of the faces that meet all limits; what is not known of a face counts as not met.

    left_out.jsonl says why each other face is not in it.
    """

    dataset: Annotated[str, Positional, option(metavar="DS")]
    """Folder of the dataset."""
    out: Annotated[str, option(metavar="DS")]
    """Folder of the new dataset; it must not exist, or be empty."""
    where: Annotated[tuple[str, ...], option(metavar="NAME=VALUE...")] = ()
    """What attributes, or columns of the manifest, must be, such as Gender=female 'Age>=18'; also !=, <=, < and >."""
    photo: Flat[PhotoLimits] = field(default_factory=PhotoLimits)
    texture: Flat[TextureLimits] = field(default_factory=TextureLimits)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.dataset.figures import measure
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.dataset.attributes import loaded
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.selection import Condition, limits_as_json, write_selection
        from ostec.io.files import whole_folder

        self.running.begin()
        out = out_path(self.out)
        limits, of_textures = self.photo.limits(), self.texture.limits()
        _check([*limits, *of_textures])
        plain = [n for n in ("single_face", "no_occluders", "no_warnings") if getattr(self.photo, n)]
        plain += ["no_twins"] if self.texture.no_twins else []
        conditions = [Condition.parse(text) for text in self.where]
        if not (limits or of_textures or plain or conditions):
            raise UsageError("Name at least one limit; ostec dataset filter --help lists them.")
        source = FinishedDataset(Path(self.dataset))
        _require_known(source, [condition.name for condition in conditions])
        with terminate_like_interrupt(), whole_folder(out) as part:
            measured = None
            if of_textures or self.texture.no_twins:
                measured = measure(source, self.texture.work, self.running)
            twins = _later_twins(measured.twins) if measured and self.texture.no_twins else {}

            def keep(row: Mapping[str, Any]) -> str:
                key = str(row["key"])
                reasons = [limit.against(row) for limit in limits]
                reasons += [condition.against({**row, **loaded(row)}) for condition in conditions]
                reasons += [limit.against(measured.figures.get(key, {})) for limit in of_textures if measured]
                reasons += [self.photo.against(row), f"near-identical to {twins[key]}" if key in twins else ""]
                return "; ".join(reason for reason in reasons if reason)

            what = {"kind": "ostec dataset filter", "limits": limits_as_json([*limits, *of_textures]), "others": plain}
            what |= {"where": list(self.where)}
            selected = write_selection(source, part, keep, what)
            if not selected.kept:
                raise UsageError(f"None of the {selected.left_out} faces meets all limits; nothing was written.")
        if not self.running.quiet:
            left_out = counted(selected.left_out, "was", "were")
            say(f"{counted(selected.kept, 'face is', 'faces are')} in {shown(out)}, {left_out} left out.")
        return 0


@dataclass(frozen=True)
class DatasetSplit:
    """Write a dataset for training, validation and testing each.

    Where a face goes follows from its photo's id and the seed alone; faces of one photo, near-identical textures and,
    with --group, faces of one person stay together.
    """

    dataset: Annotated[str, Positional, option(metavar="DS")]
    """Folder of the dataset."""
    out: Folder
    """Folder of the new datasets train, val and test; it must not exist, or be empty."""
    train: float = 0.9
    """Share of the faces, about; the three sum up to 1."""
    val: float = 0.05
    """Share for validation."""
    test: float = 0.05
    """Share for testing."""
    seed: int = 0
    """Another one draws another split."""
    group: Annotated[str, option(metavar="NAME")] = ""
    """Name of an attribute, such as person: faces that share its value stay together."""
    ignore_twins: Flag = False
    """Do not look for near-identical textures, which takes the time of ostec eval textures."""
    work: Annotated[str, option(metavar="DIR")] = ""
    """Folder where the figures of the textures are kept for the next call."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.selection import group_faces, part_of, write_selection
        from ostec.io.files import whole_folder

        self.running.begin()
        out = out_path(self.out)
        shares = {"train": self.train, "val": self.val, "test": self.test}
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > _TOLERANCE:
            raise UsageError("--train, --val and --test must be 0 or more and sum up to 1.")
        source = FinishedDataset(Path(self.dataset))
        counts = {}
        with terminate_like_interrupt(), whole_folder(out) as folder:
            twins = () if self.ignore_twins else self._measured(source).twins
            groups = group_faces(source.faces(), twins, self.group)
            _warn_without(source, self.group)
            for part in [name for name in shares if shares[name] > 0]:

                def keep(row: Mapping[str, Any], part: str = part) -> str:
                    where = part_of(groups.root(row["id"]), shares, self.seed)
                    return "" if where == part else f"in {where}"

                what = {"kind": "ostec dataset split", "part": part, "shares": shares, "seed": self.seed}
                what |= {"group": self.group, "ignore_twins": self.ignore_twins}
                counts[part] = write_selection(source, folder / part, keep, what).kept
        if not self.running.quiet:
            parts = [f"{counted(count, 'face')} for {part}" for part, count in counts.items()]
            say(f"{shown(out)} has {', '.join(parts)}.")
        for part in [part for part, count in counts.items() if not count]:
            logger.warning("No face has fallen to %s.", part)
        return 0

    def _measured(self, source: "FinishedDataset") -> "TextureFigures":
        from ostec.app.dataset.figures import measure

        measured = measure(source, self.work, self.running)
        for key, reason in measured.failures.items():
            logger.warning("Near-identical textures of %s were not looked for: %s", key, reason)
        return measured


def _check(limits: "Iterable[Limit]") -> None:
    for limit in limits:
        if any(value is not None and math.isnan(value) for value in (limit.low, limit.high)):
            raise UsageError(f"The limit of {limit.figure} is no number.")
        low, high = _RANGES.get(limit.figure, (-math.inf, math.inf))
        for value in (limit.low, limit.high):
            if value is not None and not low <= value <= high:
                range_ = f"between {low:g} and {high:g}" if high < math.inf else f"{low:g} or more"
                raise UsageError(f"The limit of {limit.figure} must be {range_}, not {value:g}.")
        if limit.low is not None and limit.high is not None and limit.low > limit.high:
            raise UsageError(f"The least {limit.figure} is greater than the greatest.")


def _require_known(source: "FinishedDataset", names: Iterable[str]) -> None:
    from ostec.dataset.attributes import loaded

    left = set(names)
    for row in source.faces() if left else ():
        left -= loaded(row).keys() | {name for name, value in row.items() if value is not None}
        if not left:
            return
    if left:
        raise UsageError(f"No face of {source.folder} has {shown(' or '.join(sorted(left)))}; see ostec dataset stats.")


def _later_twins(twins: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key of each texture that is left out -> the one that is kept in its place."""
    left: dict[str, str] = {}
    for first, second in twins:  # sorted by place: the first of a pair is decided before it is met
        if first not in left:
            left.setdefault(second, first)
    return left


def _warn_without(source: "FinishedDataset", attribute: str) -> None:
    if not attribute:
        return
    from ostec.dataset.attributes import loaded

    without = sum(attribute not in loaded(row) for row in source.faces())
    if without:
        logger.warning("%d faces have no attribute %s and stand for themselves.", without, attribute)
