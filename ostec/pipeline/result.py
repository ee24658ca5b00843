"""One finished face and its files."""

import html
import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ostec.core.record import RunRecord
from ostec.core.types import ByteArray, FloatArray, IntArray, ProjectedView, TexturedFace
from ostec.export.head import write_head
from ostec.export.materials import map_pictures, write_materials
from ostec.export.mesh import textured_mesh, write_glb, write_npz, write_obj, write_texture
from ostec.export.page import write_page, write_thumbnail, write_turntable
from ostec.export.pictures import FRONT_VIEW, write_views
from ostec.export.record import write_record
from ostec.export.samples import write_samples
from ostec.export.viewer import viewer_page
from ostec.heads.parts import Head
from ostec.io.files import make_folder
from ostec.io.images import as_pil

if TYPE_CHECKING:
    import trimesh
    from PIL.Image import Image as PilImage


@dataclass(frozen=True, repr=False)
class CompletedFace:
    """One finished face with the record of how it was made."""

    textured: TexturedFace
    photo: FloatArray
    """[H, W, 3] in [0, 1]."""
    record: RunRecord
    """What NAME.json holds; nothing in it differs between two equal runs. ``warnings`` is a list of sentences."""
    seconds: dict[str, float]
    """Wall time by stage, for run.jsonl."""
    turntable: FloatArray | None = None
    """[N, H, W, 3] frames, if asked for."""
    frontal_view: ProjectedView | None = None
    """The projection behind the frontal portrait, if there was one."""
    head: Head | None = None
    """The full head, if a morphable model was asked for."""
    samples: ByteArray | None = None
    """[N, S, S, 3] other completions that are as plausible, if they were asked for."""

    @property
    def texture(self) -> FloatArray:
        """[S, S, 3] RGB in [0, 1]: the UV texture as NAME.png holds it."""
        return self.textured.completed.colour

    @property
    def albedo(self) -> FloatArray | None:
        """[S, S, 3] in [0, 1]: the texture without the photo's light, if it was asked for."""
        return self.textured.completed.layers.get("albedo")

    @property
    def provenance(self) -> ByteArray:
        """[S, S]: where each texel came from, a :class:`ostec.core.types.Provenance` each."""
        return self.textured.completed.provenance

    @property
    def vertices(self) -> FloatArray:
        """[V, 3] millimetres, canonical frame: the face looks along +z, y is up."""
        return self.textured.face.vertices

    @property
    def triangles(self) -> IntArray:
        """[F, 3] vertex ids, counter-clockwise seen from outside."""
        return self.textured.topology.triangles

    @property
    def uv(self) -> FloatArray:
        """[V, 2], v up."""
        return self.textured.topology.uv

    @property
    def pose_deg(self) -> tuple[float, float, float]:
        """Pitch, yaw, roll of the face in the photo."""
        return self.textured.face.pose_deg

    @property
    def frontal(self) -> FloatArray | None:
        """[H, W, 3] in [0, 1]: the frontal portrait, if it was asked for."""
        return self.textured.frontal

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return list(self.record["warnings"])

    @property
    def mesh(self) -> "trimesh.Trimesh":
        """The face with its texture. Raises BackendError where trimesh is not installed."""
        return textured_mesh(self.textured)

    def to_pil(self) -> "PilImage":
        """The UV texture as a PIL image."""
        return as_pil(self.texture)

    def show(self) -> None:
        """Open the head, or the face where there is no head, in the browser, to be turned and moved; no network."""
        page = Path(tempfile.mkdtemp(prefix="ostec-")) / "face.html"
        page.write_text(self._viewer(), encoding="utf-8")
        webbrowser.open(page.as_uri())

    def __repr__(self) -> str:
        """Return one short line."""
        pitch, yaw, _ = self.pose_deg
        size, mode, warned = len(self.texture), self.record["mode"], len(self.warnings)
        told = f", {warned} warning{'s' * (warned > 1)}" if warned else ""
        source = self.record["source"]
        return f"<CompletedFace of {source!r}: texture {size} x {size}, {mode}, yaw {yaw:.0f}, pitch {pitch:.0f}{told}>"

    def _repr_html_(self) -> str:
        """Return the viewer, for notebooks."""
        viewer = html.escape(self._viewer(), quote=True)
        return f'<iframe width="100%" height="720" style="border:0" srcdoc="{viewer}"></iframe>'

    def _viewer(self) -> str:
        return viewer_page(self.textured, self.head, self.photo)

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
        written.append(write_thumbnail(folder, name, result.stages[FRONT_VIEW]))
        record = self.record.copy()
        names = {path.relative_to(folder).as_posix() for path in written}
        record["files"] = sorted(names | {f"{name}.html", f"{name}.json"})
        write_page(folder, name, result, record, self.head, self.photo)
        return write_record(folder, name, record)

    def save_data(self, folder: Path, name: str) -> list[Path]:
        """Write what cannot be made again from the other files: all of :meth:`save` but OBJ, GLB, page and record.

        Returns:
            The files written.

        Raises:
            OutputError: a file cannot be written.
        """
        written = [*write_texture(folder, name, self.textured), write_npz(folder, name, self.textured)]
        layers = self.textured.completed.layers
        maps = {}
        if "albedo" in layers:
            written += write_materials(folder, name, layers, self.record["settings"]["materials"] == "unreal")
            maps = map_pictures(layers)
        if self.head is not None:
            written += write_head(folder, name, self.head, maps=maps)
        if self.samples is not None:
            written += write_samples(folder, name, self.textured, self.samples)
        if self.turntable is not None:
            written.append(write_turntable(folder, name, self.turntable))
        if self.record["settings"]["save_views"]:
            extra = () if self.frontal_view is None else (self.frontal_view,)
            written += write_views(folder, name, (*self.textured.views, *extra))
        return written
