"""``ostec uv-idm``: the program of UV-IDM's release, with the user's copy of its checkpoints, on any machine."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ostec.app.checks import need_file
from ostec.app.console import Display, say, shown
from ostec.app.options import Flat, option
from ostec.app.photos.options import RunOptions
from ostec.app.photos.sources import Photo, clean_name, comparable, refuse_replacing
from ostec.core.errors import UsageError
from ostec.core.settings import NO_HEAD, Device, to_json
from ostec.pipeline.settings import CompleteSettings, UvIdmSettings

if TYPE_CHECKING:
    from ostec.load.uv_idm import UvIdmModels
    from ostec.pipeline.observe import Observer
    from ostec.pipeline.uv_idm import UvIdmMaker, UvIdmResult

logger = logging.getLogger(__name__)

KIND = "ostec uv-idm"
"""Value of ``kind`` in a record."""
_MAX_LIST_BYTES = 64 << 20


@dataclass(frozen=True)
class UvIdm:
    """Make the textures of the largest faces of a list of photos with UV-IDM's networks, 256 x 256 texels.

    Writes OUT_uv/NAME.png, the texture as drawn; OUT_mesh/NAME.obj with NAME.png, the model with the texture in its own
    colours; and OUT/NAME.json. A photo that cannot be used is told and passed over; what is done already is skipped.
    """

    images_list_file: Annotated[str, option(metavar="FILE")]
    """Text file with the path of a photo on each line."""
    outdir: Annotated[str, option(metavar="OUT")]
    """Folder of the records, and the beginning of the others' names."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where there is a device, else the CPU."""
    settings: Flat[UvIdmSettings] = field(default_factory=UvIdmSettings)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code: 1 if some photos failed."""
        self.running.begin()
        photos = self._photos()
        if self.running.dry_run:
            say(f"{len(photos)} photos are on the list.")
            return 0
        from ostec.app.train.prior import training_device
        from ostec.io.files import make_folder
        from ostec.load.uv_idm import load_uv_idm
        from ostec.pipeline.models import load_models
        from ostec.pipeline.observe import Observer
        from ostec.pipeline.uv_idm import UvIdmMaker

        device = training_device(self.device)
        models = load_uv_idm(self.settings.averaged, device)
        maker = UvIdmMaker(models, self.settings)
        own = CompleteSettings(completer="prior", prior="default", iterations=0, face_model=NO_HEAD)
        observer = Observer(load_models(device, own), 256, device)
        for folder in (self.outdir, f"{self.outdir}_uv", f"{self.outdir}_mesh"):
            make_folder(Path(folder))
        return self._make_all(photos, observer, maker, models)

    def _photos(self) -> list[Path]:
        """The photos of the list. Raises UsageError if it is none, is empty, or names two photos alike."""
        from ostec.core.plain import read_plain

        if not self.outdir:
            raise UsageError("--outdir is empty.")
        need_file(self.images_list_file, "The list of photos")
        try:
            lines = read_plain(Path(self.images_list_file), _MAX_LIST_BYTES).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{shown(self.images_list_file)} cannot be read as a list of paths.") from error
        photos = [Path(line.strip()) for line in lines if line.strip()]
        names: dict[str, Path] = {}
        for photo in photos:
            other = names.setdefault(comparable(clean_name(photo.stem)), photo)
            if other != photo:
                raise UsageError(f"{shown(other)} and {shown(photo)} have the same name.")
        if not photos:
            raise UsageError(f"{shown(self.images_list_file)} names no photo.")
        for ending in ("_uv", "_mesh"):
            folder = Path(f"{self.outdir}{ending}")
            refuse_replacing([Photo(path, clean_name(path.stem)) for path in photos], folder, "largest", True, [".png"])
        return list(names.values())

    def _make_all(self, photos: list[Path], observer: "Observer", maker: "UvIdmMaker", models: "UvIdmModels") -> int:
        from ostec.core.errors import OstecError

        failed = skipped = 0
        with Display(len(photos), len(photos), self.running.quiet, "photos") as display:
            for photo in photos:
                if (Path(self.outdir) / f"{clean_name(photo.stem)}.json").exists() and not self.running.overwrite:
                    skipped += 1
                    display.end(photo.name, "skipped")
                    continue
                display.begin(photo.name)
                try:
                    self._write(photo, self._make(photo, observer, maker), models)
                    display.end(photo.name, "done")
                except OstecError as error:
                    failed += 1
                    logger.error("%s: %s", photo.name, error)
                    display.end(photo.name, "failed")
        if not self.running.quiet:
            done = len(photos) - failed - skipped
            say(f"{done} done, {skipped} skipped, {failed} failed, in {shown(f'{self.outdir}_uv')}.")
        return 1 if failed else 0

    def _make(self, photo: Path, observer: "Observer", maker: "UvIdmMaker") -> "UvIdmResult":
        from ostec.core.progress import PhotoRun
        from ostec.pipeline.observe import find_face

        run = PhotoRun(None)
        read, boxes = observer.open(photo, run)
        return maker(read.image, find_face(read.image, boxes[0], observer.models, run).face.landmarks)

    def _write(self, photo: Path, made: "UvIdmResult", models: "UvIdmModels") -> None:
        """Write the files of a photo, its record last. Raises OutputError."""
        from ostec.core.assets import sha256_of
        from ostec.export.head import write_parts
        from ostec.export.record import versions, write_record
        from ostec.heads.parts import HeadPart
        from ostec.io.images import write_png

        name, layout, meshes = clean_name(photo.stem), models.layout, Path(f"{self.outdir}_mesh")
        textures = Path(f"{self.outdir}_uv")
        record = Path(self.outdir) / f"{name}.json"
        record.unlink(missing_ok=True)
        write_png(textures / f"{name}.png", made.texture)
        write_png(meshes / f"{name}.png", made.matched)
        part = HeadPart(
            "face",
            made.fitted.vertices[layout.front] * 100,  # decimetres to millimetres
            made.fitted.normals[layout.front],
            layout.front_triangles,
            layout.front_uv,
            (1.0, 1.0, 1.0),
        )
        write_parts(meshes, name, [part], {"face": f"{name}.png"}, "Basel Face Model 2009, under its own licence")
        facts = {"source": photo.name, "source_sha256": sha256_of(photo), "settings": to_json(self.settings)}
        write_record(record.parent, name, {**facts, "weights": models.hashes, "versions": versions()}, KIND)
