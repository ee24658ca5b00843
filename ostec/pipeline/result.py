"""One finished face and its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.core.types import FloatArray, ProjectedView, TexturedFace
from ostec.export.head import write_head
from ostec.export.mesh import write_glb, write_npz, write_obj, write_texture
from ostec.export.page import write_page, write_turntable
from ostec.export.record import write_record
from ostec.export.views import write_views
from ostec.heads.parts import Head
from ostec.io.files import make_folder


@dataclass(frozen=True)
class CompletedFace:
    """One finished face with the record of how it was made."""

    textured: TexturedFace
    record: dict[str, Any]
    """What NAME.json holds; nothing in it differs between two equal runs. ``warnings`` is a list of sentences."""
    seconds: dict[str, float]
    """Wall time by stage, for run.jsonl."""
    turntable: FloatArray | None = None
    """[N, H, W, 3] frames, if asked for."""
    frontal_view: ProjectedView | None = None
    """The projection behind the frontal portrait, if there was one."""
    head: Head | None = None
    """The full head, if a morphable model was asked for."""

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        """Write every file of the result; NAME.json is renamed last and means done.

        Args:
            directory: made if it does not exist.
            name: stem of the files; default: the photo's.

        Returns:
            The path of NAME.json.

        Raises:
            OutputError: a file cannot be written; nothing half-written is left.
        """
        folder = make_folder(Path(directory))
        name = name or Path(str(self.record["source"])).stem
        result = self.textured
        written = self.save_data(folder, name)
        written += write_obj(folder, name, result.face, result.topology)
        written.append(write_glb(folder, name, result))
        record = dict(self.record)
        names = {path.relative_to(folder).as_posix() for path in written}
        record["files"] = sorted(names | {f"{name}.html", f"{name}.json"})
        write_page(folder, name, result, record)
        return write_record(folder, name, record)

    def save_data(self, folder: Path, name: str) -> list[Path]:
        """Write what cannot be made again from the other files: all of :meth:`save` but OBJ, GLB, page and record.

        Returns:
            The files written.

        Raises:
            OutputError: a file cannot be written.
        """
        written = [*write_texture(folder, name, self.textured), write_npz(folder, name, self.textured)]
        if self.head is not None:
            written += write_head(folder, name, self.head)
        if self.turntable is not None:
            written.append(write_turntable(folder, name, self.turntable))
        if self.record["settings"]["save_views"]:
            extra = () if self.frontal_view is None else (self.frontal_view,)
            written += write_views(folder, name, (*self.textured.views, *extra))
        return written
