"""What the tabs show, as HTML; names and sentences of others are escaped by the templates."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from ostec.app.models.models import sized
from ostec.app.web.jobs import Job
from ostec.app.web.sessions import Result
from ostec.app.web.work import DatasetShown, FolderDone, Looked
from ostec.core.inventory import ModelStatus
from ostec.core.settings import flat
from ostec.export.record import read_record
from ostec.export.templates import render

STAGES = {
    "load": "Loading the networks",
    "look": "Looking for faces",
    "read": "Reading the photo",
    "detect": "Finding the face",
    "landmarks": "Finding landmarks",
    "fit": "Fitting the mesh",
    "unwrap": "Unwrapping",
    "mask": "Masking hair, hands and glasses",
    "prior": "Filling from the prior",
    "project": "Projecting views into the generator",
    "stitch": "Joining photo and fill",
    "export": "Making the head and its files",
    "track": "Tracking",
    "learn": "Learning the head: look at the camera",
    "live": "Tracking the camera",
    "preview": "Drawing the preview",
    "fetch": "Fetching",
}
"""What a stage is called on the page."""
_SAME = ("source_sha256", "files", "versions", "weights", "losses", "landmarks", "kind")
"""Of records, what is not compared."""


def _html(name: str, **values: Any) -> str:
    return render(f"app/{name}.html.j2", **values).decode()


def progress(job: Job, ahead: int) -> str:
    """How far a job is; ``ahead`` are before it."""
    stage = "Stopping" if job.cancelled else STAGES.get(job.stage, job.stage) or "Beginning"
    left, percent = _time_left(job.seconds_left), round(100 * job.fraction)
    values = {"what": job.what, "left": left, "percent": percent, "tiles": _tiles(job), "lines": job.lines}
    return _html("progress", ahead=ahead, stage=stage, **values)


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", about {max(1, round(seconds))} s left" if seconds < 90 else f", about {round(seconds / 60)} min left"


def _tiles(job: Job) -> list[dict[str, str]]:
    return [{"name": unquote(address.rpartition("/")[2]), "source": address} for address in job.tiles]


def said(sentence: str, bad: bool = False, job: Job | None = None) -> str:
    """A sentence, and what else there is to say of a job."""
    lines, tiles = ([], []) if job is None else (job.lines, _tiles(job))
    return _html("said", sentence=sentence, kind="bad" if bad else "good", lines=lines, tiles=tiles)


def photos(looked: Sequence[Looked]) -> str:
    """The dropped photos, with their faces to click at."""
    note = ""
    if len(looked) > 1:
        note = f"{len(looked)} photos: they become one person, with the largest face of each."
    elif looked and len(looked[0].boxes) > 1:
        note = "Click the face to complete."
    return _html("photos", photos=looked, note=note)


def result(found: Result, command: str = "", job: Job | None = None) -> str:
    """A result's page or video, and its files."""
    files = found.files()
    page = next((name for name in (f"{found.title}.html", "index.html") if name in files), "")
    videos = [name for name in files if name.endswith(".webm")]
    return _html(
        "result",
        title=found.title,
        page=found.place(page) if page else "",
        video=found.place(videos[0]) if videos else "",
        archive=f"archives/{found.address.split('/', 1)[1].rstrip('/')}",
        files=[
            {"name": name, "address": found.place(name), "size": sized(path.stat().st_size)}
            for name, path in files.items()
        ],
        command=command,
        lines=job.lines if job is not None else (),
        tiles=_tiles(job) if job is not None else (),
    )


def folder(job: Job) -> str:
    """What came of a folder of photos."""
    done: FolderDone = job.result
    told = said(done.sentence, job=job)
    return told if done.result is None or len(done.result.files()) < 2 else told + result(done.result)


def record_of(found: Result) -> Mapping[str, Any] | None:
    """The record of a result that is one face."""
    for name in found.files():
        if name.endswith(".json"):
            record = read_record(found.folder / name)
            if record is not None:
                return record
    return None


def compare(one: Result, other: Result) -> str:
    """Two results beside each other, and in what their records differ."""
    values = [flat(record_of(found) or {}) for found in (one, other)]
    rows = []
    for name in sorted({*values[0], *values[1]}):
        both = [value.get(name) for value in values]
        if both[0] != both[1] and not name.startswith(_SAME):
            rows.append({"name": name, "values": [_brief(value) for value in both]})
    sides = [{"title": found.title, "page": found.place(f"{found.title}.html")} for found in (one, other)]
    return _html("compare", sides=sides, rows=rows)


def _brief(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 300 else text[:300] + " ..."


def models(found: Sequence[ModelStatus]) -> str:
    """A table of models."""
    permitted = {True: "yes", False: "no", None: "see the licence"}
    rows = [
        {
            "name": one.manifest.name,
            "state": one.state.value,
            "size": sized(one.size),
            "licence": one.manifest.short_licence,
            "commercial": permitted[one.manifest.commercial_use],
            "purpose": one.manifest.purpose,
            "how": "" if one.usable or one.state.value == "missing" else f"ostec models show {one.manifest.name}",
        }
        for one in found
    ]
    return _html("models", models=rows)


def dataset(found: DatasetShown) -> str:
    """Statistics and pictures of a dataset."""
    places = {name: found.result.place(name) for name in ("sheet.png", "stats.html")}
    return _html("dataset", table=found.table, sheet=places["sheet.png"], page=places["stats.html"])


def drop(label: str, accept: str, limit: int, many: bool = True, camera: bool = False, folders: bool = False) -> str:
    """A place to drop files on."""
    return _html("drop", label=label, accept=accept, limit=limit, many=many, camera=camera, folders=folders)


def live() -> str:
    """The camera, and the head that moves as the face in it does."""
    return _html("live")
