"""``ostec dataset filter`` and ``split``: parts of a dataset as datasets of their own."""

import contextlib
import hashlib
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from ostec.app.checks import out_path
from ostec.app.console import say
from ostec.app.eval.options import RunOptions
from ostec.app.options import DatasetFolder, Flag, Flat, NewDataset, OutFolder, option
from ostec.app.photos.runner import terminate_like_interrupt
from ostec.core.errors import OstecError, UsageError
from ostec.core.text import counted, shown
from ostec.dataset.finished import FacePlace, FinishedDataset, need, read_face
from ostec.dataset.recipe import resolved
from ostec.dataset.records import PROVENANCE, TEXTURE
from ostec.dataset.selection import (
    Rule,
    condition,
    group_faces,
    limit,
    part_of,
    reasons_of,
    with_values,
    write_selection,
)
from ostec.dataset.stats import attributes_of
from ostec.io.files import make_folder, whole_folder, write_atomic

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-6
_FIGURES = ("symmetry", "energy", "spread", "area_photo")  # of textures, that limits can be set to


@dataclass(frozen=True)
class _Bound:
    """What an option limits; a limit beyond least and most would keep every face, or none."""

    figure: str
    end: str  # ``low`` or ``high``
    most: float = math.inf
    least: float = 0.0
    absolute: bool = False


@dataclass(frozen=True)
class PhotoLimits:
    """What the manifest says of photo and face."""

    max_yaw: Annotated[float | None, option(metavar="DEGREES"), _Bound("yaw_deg", "high", absolute=True)] = None
    """Degrees that the head may be turned to either side."""
    max_pitch: Annotated[float | None, option(metavar="DEGREES"), _Bound("pitch_deg", "high", absolute=True)] = None
    """Degrees that it may be raised or lowered."""
    min_confidence: Annotated[float | None, option(metavar="NUMBER"), _Bound("confidence", "low", 1.0)] = None
    """Certainty of the detection, 0 to 1."""
    min_size: Annotated[float | None, option(metavar="PX"), _Bound("face_size_px", "low")] = None
    """Side of the face in the photo, pixels."""
    min_sharpness: Annotated[float | None, option(metavar="NUMBER"), _Bound("sharpness", "low")] = None
    """Sharpness of the photo's texels; blurred photos have less."""
    min_photo_share: Annotated[float | None, option(metavar="NUMBER"), _Bound("photo_share", "low", 1.0)] = None
    """Share of the texels that is from the photo, 0 to 1."""
    min_brightness: Annotated[float | None, option(metavar="NUMBER"), _Bound("brightness", "low", 1.0)] = None
    """Mean luma of the photo's texels, 0 to 1."""
    max_brightness: Annotated[float | None, option(metavar="NUMBER"), _Bound("brightness", "high", 1.0)] = None
    """The same, at most."""
    max_residual: Annotated[float | None, option(metavar="NUMBER"), _Bound("fit_residual_percent", "high")] = None
    """Misfit of the mesh, per cent."""
    single_face: Flag = False
    """Only photos in which one face was completed."""
    no_occluders: Flag = False
    """No face with hands, glasses or hair in front of it."""
    no_warnings: Flag = False
    """No face whose record has warnings."""


@dataclass(frozen=True)
class TextureLimits:
    """Figures of ostec eval textures, which are measured if any is asked for."""

    max_symmetry: Annotated[float | None, option(metavar="NUMBER"), _Bound("symmetry", "high")] = None
    """Difference of brightness between left and right, 0 to 255: light from one side."""
    min_energy: Annotated[float | None, option(metavar="NUMBER"), _Bound("energy", "low", least=-math.inf)] = None
    """Detail, in dB."""
    max_spread: Annotated[float | None, option(metavar="NUMBER"), _Bound("spread", "high")] = None
    """Distance of the identity from the mean of the dataset; faces that the prior draws have 1."""
    min_area_photo: Annotated[float | None, option(metavar="NUMBER"), _Bound("area_photo", "low", 1.0)] = None
    """Share of the chart whose colour is the photo's, 0 to 1."""
    no_twins: Flag = False
    """Of near-identical textures, keep the first."""
    work: Annotated[str, option(metavar="DIR")] = ""
    """Folder where the figures are kept for the next call; nothing is kept without it."""


@dataclass(frozen=True)
class DatasetFilter:
    """Write a dataset of the faces that meet all limits; what is not known of a face counts as not met.

    left_out.jsonl says why each other face is not in it.
    """

    dataset: DatasetFolder
    """Folder of the dataset."""
    out: NewDataset
    """Folder of the new dataset; it must not exist, or be empty."""
    where: Annotated[tuple[str, ...], option(metavar="NAME=VALUE...")] = ()
    """What attributes, or columns of the manifest, must be, such as Gender=female 'Age>=18'; also !=, <=, < and >. A
    share, as in 'symmetry<=90%', stands for that quantile of the dataset."""
    photo: Flat[PhotoLimits] = field(default_factory=PhotoLimits)
    texture: Flat[TextureLimits] = field(default_factory=TextureLimits)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()
        out = out_path(self.out)
        limits, of_textures = _limits(self.photo), _limits(self.texture)
        source = FinishedDataset(Path(self.dataset))
        where = resolved(self.where, source.faces_table(), (lambda _: None) if self.running.quiet else say)
        rules = [*(limit(**one) for one in limits), *map(condition, where)]
        others = {name: rule for name, rule in _others().items() if {**vars(self.photo), **vars(self.texture)}[name]}
        rules += [*(limit(**one) for one in of_textures), *others.values()]
        if not rules:
            raise UsageError("Name at least one limit; ostec dataset filter --help lists them.")
        faces = with_values(source.faces_table(), rules)
        with terminate_like_interrupt(), whole_folder(out) as part:
            if of_textures or self.texture.no_twins:
                faces = _measure(source, self.texture.work, self.running).beside(faces)
            what = {"kind": "ostec dataset filter", "limits": limits + of_textures, "others": list(others)}
            what |= {"where": where}
            kept = write_selection(source, part, reasons_of(faces, rules), what)
            if not kept:
                raise UsageError(f"None of the {len(faces)} faces meets all limits; nothing was written.")
        if not self.running.quiet:
            left_out = counted(len(faces) - kept, "was", "were")
            say(f"{counted(kept, 'face is', 'faces are')} in {shown(out)}, {left_out} left out.")
        return 0


@dataclass(frozen=True)
class DatasetSplit:
    """Write a dataset for training, validation and testing each.

    Where a face goes follows from its photo's id and the seed alone; faces of one photo, near-identical textures and,
    with --group, faces of one person stay together.
    """

    dataset: DatasetFolder
    """Folder of the dataset."""
    out: OutFolder
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
            where = dict(zip(faces["key"].to_pylist(), (part_of(g, shares, self.seed) for g in groups), strict=True))
            for part in [name for name in shares if shares[name] > 0]:
                what = {"kind": "ostec dataset split", "part": part, "shares": shares, "seed": self.seed}
                what |= {"group": self.group, "ignore_twins": self.ignore_twins}
                others = {key: f"in {other}" for key, other in where.items() if other != part}
                counts[part] = write_selection(source, folder / part, others, what)
        if not self.running.quiet:
            parts = [f"{counted(count, 'face')} for {part}" for part, count in counts.items()]
            say(f"{shown(out)} has {', '.join(parts)}.")
        for part in [part for part, count in counts.items() if not count]:
            logger.warning("No face has fallen to %s.", part)
        return 0

    def _twins(self, source: FinishedDataset) -> Sequence[tuple[str, str]]:
        measured = _measure(source, self.work, self.running)
        for key, reason in measured.failures.items():
            logger.warning("Near-identical textures of %s were not looked for: %s", key, reason)
        return measured.twins


def _limits(options: PhotoLimits | TextureLimits) -> list[dict[str, Any]]:
    """The limits that were asked for, by figure. Raises UsageError for those that mean nothing."""
    hints, found = get_type_hints(type(options), include_extras=True), dict[str, dict[str, Any]]()
    for field_ in fields(options):
        value = getattr(options, field_.name)
        marks = getattr(hints[field_.name], "__metadata__", ()) if value is not None else ()
        for bound in (mark for mark in marks if isinstance(mark, _Bound)):
            if math.isnan(value):
                raise UsageError(f"The limit of {bound.figure} is no number.")
            if not bound.least <= value <= bound.most:
                range_ = f"between 0 and {bound.most:g}" if bound.most < math.inf else "0 or more"
                raise UsageError(f"The limit of {bound.figure} must be {range_}, not {value:g}.")
            about = {"figure": bound.figure, "low": None, "high": None, "absolute": bound.absolute}
            found.setdefault(bound.figure, about)[bound.end] = value
    for one in found.values():
        if None not in (one["low"], one["high"]) and one["low"] > one["high"]:
            raise UsageError(f"The least {one['figure']} is greater than the greatest.")
    return list(found.values())


def _others() -> dict[str, Rule]:
    """Rules of what is no number, by the name of their limit."""
    import pyarrow.compute as pc

    def is_empty(column: str) -> Any:
        return pc.coalesce(pc.list_value_length(pc.field(column)), pc.scalar(0)) == 0

    return {
        "single_face": Rule("faces", pc.field("faces") == 1, "{} faces are in the photo".format),
        "no_occluders": Rule("occluders", is_empty("occluders"), lambda found: f"occluded by {', '.join(found)}"),
        "no_warnings": Rule("warnings", is_empty("warnings"), lambda found: f"warned: {'; '.join(found)}"),
        "no_twins": Rule("twin", pc.field("twin").is_null(), "near-identical to {}".format),
    }


@dataclass(frozen=True)
class _TextureFigures:
    """What was measured."""

    figures: Mapping[str, Mapping[str, float]]  # key -> name -> number
    twins: tuple[tuple[str, str], ...]  # keys of near-identical textures, in the order of the dataset
    failures: Mapping[str, str]  # key -> why a texture could not be measured

    def beside(self, faces: Any) -> Any:
        """Faces with its figures as columns, and ``twin``: key of the earlier texture that theirs is a copy of."""
        import pyarrow as pa

        keys, twins = faces["key"].to_pylist(), dict[str, str]()
        for first, second in self.twins:  # the first of a pair is decided before it is met
            if first not in twins:
                twins.setdefault(second, first)
        for name in _FIGURES:
            faces = faces.append_column(name, pa.array([self.figures.get(k, {}).get(name) for k in keys], "float64"))
        return faces.append_column("twin", pa.array(map(twins.get, keys), "string"))


@dataclass(frozen=True)
class _FaceTask:
    """Takes a face out of its shard and measures its texture; a task of ``eval.jobs``."""

    places: Mapping[str, FacePlace]  # by stamped key
    out: Path

    def __call__(self, key: str) -> dict[str, Any]:
        from ostec.eval.textures.run import TextureFile, TextureTask

        found = read_face(self.places[key], {TEXTURE, PROVENANCE})
        with tempfile.TemporaryDirectory(dir=self.out) as scratch:
            path, other = Path(scratch) / f"{key}.png", Path(scratch) / f"{key}_provenance.png"
            write_atomic(path, need(found, TEXTURE, self.places[key]))
            if PROVENANCE in found:
                write_atomic(other, found[PROVENANCE])
            file = TextureFile(key, path, other if PROVENANCE in found else None)
            return TextureTask({key: file}, "default", None, self.out)(key)


def _measure(source: FinishedDataset, work: str, running: RunOptions) -> _TextureFigures:
    """Take the figures of ``ostec eval textures`` of all finished faces; ``work`` keeps them for a second call.

    Raises OstecError if a face cannot be read, or the folder not be written.
    """
    from ostec.app.eval.run import run_shown
    from ostec.eval.textures import run as textures

    places = {_stamped(source, place): place for place in map(source.place, source.faces())}
    keys = {name: place.key for name, place in places.items()}
    files = {name: textures.TextureFile(name, Path(name), None) for name in places}
    settings = textures.settings_of("default", None)
    with _folder(work) as out:
        jobs = textures.texture_jobs(textures.TextureTask(files, "default", None, out), settings)
        outcomes = run_shown(jobs, _FaceTask(places, out), running, "textures")
    evaluation = textures.evaluation_of(list(files.values()), [outcomes[name] for name in files], settings)
    rows = {keys[row.item]: row.figures for row in evaluation.rows if row.item in places}
    twins = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    failures = {keys[failure["item"]]: failure["reason"] for failure in evaluation.failures}
    return _TextureFigures(rows, tuple((keys[one], keys[other]) for one, other in twins), failures)


def _stamped(source: FinishedDataset, place: FacePlace) -> str:
    """A face's key, with what tells its bytes from those of another dataset's face of the same key."""
    told = f"{source.checksum(int(place.shard.stem))} {place.start} {place.size}"
    return f"{place.key}-{hashlib.sha256(told.encode('ascii')).hexdigest()[:16]}"


@contextlib.contextmanager
def _folder(work: str) -> Iterator[Path]:
    if work:
        yield make_folder(Path(work))
        return
    try:
        with tempfile.TemporaryDirectory(prefix="ostec-figures-") as scratch:
            yield Path(scratch)
    except OSError as error:
        raise OstecError(f"There is no place for the figures ({error.strerror or error}).") from error
