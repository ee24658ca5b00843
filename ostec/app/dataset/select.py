"""``ostec dataset filter`` and ``split``: parts of a dataset as datasets of their own."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.checks import out_path
from ostec.app.console import say
from ostec.app.eval.options import RunOptions
from ostec.core.errors import UsageError
from ostec.core.text import counted, shown

if TYPE_CHECKING:
    from ostec.dataset.finished import FinishedDataset
    from ostec.dataset.selection import Rule

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-6
_RANGES = {
    **dict.fromkeys(("confidence", "photo_share", "brightness", "area_photo"), (0.0, 1.0)),
    **dict.fromkeys(("yaw_deg", "pitch_deg", "face_size_px", "sharpness"), (0.0, math.inf)),
    **dict.fromkeys(("fit_residual_percent", "spread", "symmetry"), (0.0, math.inf)),
}
"""Figure -> what a limit of it can be; others would keep every face, or none."""


Bounds = tuple[str, float | None, float | None, bool]
"""Figure, the least and the most that it may be, and whether its sign counts not."""


def _asked(*limits: Bounds) -> list[Bounds]:
    """Those that were asked for."""
    return [limit for limit in limits if limit[1] is not None or limit[2] is not None]


@dataclass(frozen=True)
class PhotoLimits:
    """What the manifest says of photo and face."""

    max_yaw: float | None = None
    """Degrees that the head may be turned to either side."""
    max_pitch: float | None = None
    """Degrees that it may be raised or lowered."""
    min_confidence: float | None = None
    """Certainty of the detection, 0 to 1."""
    min_size: float | None = None
    """Side of the face in the photo, pixels."""
    min_sharpness: float | None = None
    """Sharpness of the photo's texels; blurred photos have less."""
    min_photo_share: float | None = None
    """Share of the texels that is from the photo, 0 to 1."""
    min_brightness: float | None = None
    """Mean luma of the photo's texels, 0 to 1."""
    max_brightness: float | None = None
    """The same, at most."""
    max_residual: float | None = None
    """Misfit of the mesh, per cent."""
    single_face: bool = False
    """Only photos in which one face was completed."""
    no_occluders: bool = False
    """No face with hands, glasses or hair in front of it."""
    no_warnings: bool = False
    """No face whose record has warnings."""

    def limits(self) -> list[Bounds]:
        """As limits of columns."""
        return _asked(
            ("yaw_deg", None, self.max_yaw, True),
            ("pitch_deg", None, self.max_pitch, True),
            ("confidence", self.min_confidence, None, False),
            ("face_size_px", self.min_size, None, False),
            ("sharpness", self.min_sharpness, None, False),
            ("photo_share", self.min_photo_share, None, False),
            ("brightness", self.min_brightness, self.max_brightness, False),
            ("fit_residual_percent", None, self.max_residual, False),
        )

    def others(self) -> "dict[str, Rule]":
        """What is no number, by the name of its option."""
        import pyarrow.compute as pc

        from ostec.dataset.selection import Rule

        of = pc.field
        rules = {
            "single_face": Rule("faces", of("faces") == 1, "{} faces are in the photo".format),
            "no_occluders": Rule("occluders", _is_empty("occluders"), lambda o: f"occluded by {', '.join(o)}"),
            "no_warnings": Rule("warnings", _is_empty("warnings"), lambda w: f"warned: {'; '.join(w)}"),
        }
        return {name: rule for name, rule in rules.items() if getattr(self, name)}


def _is_empty(column: str) -> Any:
    import pyarrow.compute as pc

    return pc.coalesce(pc.list_value_length(pc.field(column)), pc.scalar(0)) == 0


@dataclass(frozen=True)
class TextureLimits:
    """Figures of ostec eval textures, which are measured if any is asked for."""

    max_symmetry: float | None = None
    """Difference of brightness between left and right, 0 to 255: light from one side."""
    min_energy: float | None = None
    """Detail, in dB."""
    max_spread: float | None = None
    """Distance of the identity from the mean of the dataset; faces that the prior draws have 1."""
    min_area_photo: float | None = None
    """Share of the chart whose colour is the photo's, 0 to 1."""
    no_twins: bool = False
    """Of near-identical textures, keep the first."""
    work: str = ""
    """Folder where the figures are kept for the next call; nothing is kept without it."""

    def limits(self) -> list[Bounds]:
        """As limits of figures."""
        return _asked(
            ("symmetry", None, self.max_symmetry, False),
            ("energy", self.min_energy, None, False),
            ("spread", None, self.max_spread, False),
            ("area_photo", self.min_area_photo, None, False),
        )


@dataclass(frozen=True)
class DatasetFilter:
    """Write a dataset of the faces that meet all limits; what is not known of a face counts as not met.

    left_out.jsonl says why each other face is not in it.
    """

    dataset: str
    """Folder of the dataset."""
    out: str
    """Folder of the new dataset; it must not exist, or be empty."""
    where: tuple[str, ...] = ()
    """What attributes, or columns of the manifest, must be, such as Gender=female 'Age>=18'; also !=, <=, < and >."""
    photo: PhotoLimits = field(default_factory=PhotoLimits)
    texture: TextureLimits = field(default_factory=TextureLimits)
    running: RunOptions = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.dataset.figures import with_figures
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.selection import Condition, limit, reasons_of, with_values, write_selection
        from ostec.io.folders import whole_folder

        self.running.begin()
        out = out_path(self.out)
        limits, of_textures, others = self.photo.limits(), self.texture.limits(), self.photo.others()
        _check([*limits, *of_textures])
        conditions = [Condition.parse(text) for text in self.where]
        others |= {"no_twins": _no_twins()} if self.texture.no_twins else {}
        if not (limits or of_textures or others or conditions):
            raise UsageError("Name at least one limit; ostec dataset filter --help lists them.")
        rules = [limit(*bounds) for bounds in limits] + [condition.rule() for condition in conditions]
        rules += [*(limit(*bounds) for bounds in of_textures), *others.values()]
        source = FinishedDataset(Path(self.dataset))
        faces = with_values(source.faces_table(), [condition.name for condition in conditions])
        missing = {c.name for c in conditions if faces[f"text {c.name}"].null_count == len(faces)}
        if missing:
            names = shown(" or ".join(sorted(missing)))
            raise UsageError(f"No face of {source.folder} has {names}; see ostec dataset stats.")
        with terminate_like_interrupt(), whole_folder(out) as part:
            if of_textures or self.texture.no_twins:
                faces = with_figures(faces, source, self.texture.work, self.running)
            asked = [dict(zip(("figure", "low", "high", "absolute"), b, strict=True)) for b in (*limits, *of_textures)]
            what = {"kind": "ostec dataset filter", "limits": asked, "others": list(others), "where": list(self.where)}
            selected = write_selection(source, part, reasons_of(faces, rules), what)
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

    dataset: str
    """Folder of the dataset."""
    out: str
    """Folder of the new datasets train, val and test; it must not exist, or be empty."""
    train: float = 0.9
    """Share of the faces, about; the three sum up to 1."""
    val: float = 0.05
    """Share for validation."""
    test: float = 0.05
    """Share for testing."""
    seed: int = 0
    """Another one draws another split."""
    group: str = ""
    """Name of an attribute, such as person: faces that share its value stay together."""
    ignore_twins: bool = False
    """Do not look for near-identical textures, which takes the time of ostec eval textures."""
    work: str = ""
    """Folder where the figures of the textures are kept for the next call."""
    running: RunOptions = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.selection import group_faces, part_of, write_selection
        from ostec.dataset.stats import attributes_of
        from ostec.io.folders import whole_folder

        self.running.begin()
        out = out_path(self.out)
        shares = {"train": self.train, "val": self.val, "test": self.test}
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > _TOLERANCE:
            raise UsageError("--train, --val and --test must be 0 or more and sum up to 1.")
        source = FinishedDataset(Path(self.dataset))
        counts = {}
        with terminate_like_interrupt(), whole_folder(out) as folder:
            faces = source.faces_table()
            groups = group_faces(faces, () if self.ignore_twins else self._twins(source), self.group)
            without = len(faces) - len(attributes_of(faces).get(self.group, {}))
            if self.group and without:
                logger.warning("%d faces have no attribute %s and stand for themselves.", without, self.group)
            where = {
                key: part_of(group, shares, self.seed)
                for key, group in zip(faces["key"].to_pylist(), groups, strict=True)
            }
            for part in [name for name in shares if shares[name] > 0]:
                what = {"kind": "ostec dataset split", "part": part, "shares": shares, "seed": self.seed}
                what |= {"group": self.group, "ignore_twins": self.ignore_twins}
                others = {key: f"in {other}" for key, other in where.items() if other != part}
                counts[part] = write_selection(source, folder / part, others, what).kept
        if not self.running.quiet:
            parts = [f"{counted(count, 'face')} for {part}" for part, count in counts.items()]
            say(f"{shown(out)} has {', '.join(parts)}.")
        for part in [part for part, count in counts.items() if not count]:
            logger.warning("No face has fallen to %s.", part)
        return 0

    def _twins(self, source: "FinishedDataset") -> Sequence[tuple[str, str]]:
        from ostec.app.dataset.figures import measure

        measured = measure(source, self.work, self.running)
        for key, reason in measured.failures.items():
            logger.warning("Near-identical textures of %s were not looked for: %s", key, reason)
        return measured.twins


def _check(limits: Sequence[Bounds]) -> None:
    for figure, least, most, _ in limits:
        low, high = _RANGES.get(figure, (-math.inf, math.inf))
        for value in [value for value in (least, most) if value is not None]:
            if math.isnan(value):
                raise UsageError(f"The limit of {figure} is no number.")
            if not low <= value <= high:
                range_ = f"between {low:g} and {high:g}" if high < math.inf else f"{low:g} or more"
                raise UsageError(f"The limit of {figure} must be {range_}, not {value:g}.")
        if least is not None and most is not None and least > most:
            raise UsageError(f"The least {figure} is greater than the greatest.")


def _no_twins() -> "Rule":
    import pyarrow.compute as pc

    from ostec.dataset.selection import Rule

    return Rule("twin", pc.is_null(pc.field("twin")), "near-identical to {}".format)
