"""``ostec eval head``: completions of a textured head's pictures, held against the head itself."""

import logging
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from ostec.app.checks import need_file, refusal
from ostec.app.eval.options import CompletionOptions, RunOptions
from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.core.errors import UsageError
from ostec.core.settings import NO_HEAD, FaceModel

if TYPE_CHECKING:
    from ostec.eval.head.mesh import PartFiles
    from ostec.eval.head.run import HeadSettings

logger = logging.getLogger(__name__)

ToneName = Literal["own", "light", "tan", "brown", "dark"]
BY_LIGHT = "table_by_light.txt"


@dataclass(frozen=True)
class EvalHead:
    """Draw a textured head as photos, complete them, and compare what comes out with the head.

    Leaves eval.json, table.txt (by yaw), table_by_light.txt, sheet.png and all pictures. What is done already is kept,
    so that the same command goes on after an interruption.
    """

    mesh: Annotated[Path, Positional, option(metavar="MESH.obj")]
    """The head's OBJ, in any unit, looking along +z with y up."""
    texture: Annotated[Path, option(metavar="FILE")]
    """Its texture."""
    out: OutFolder
    """Folder of the results; made if it does not exist."""
    part: Annotated[tuple[Path, ...], option(metavar="MESH.obj...")] = ()
    """Further OBJs in the head's frame: eyeballs, teeth."""
    part_texture: Annotated[tuple[Path, ...], option(metavar="FILE...")] = ()
    """Their textures, in the same order; one for all, or none if they are in the head's."""
    yaws: Annotated[tuple[int, ...], option(metavar="DEGREES...")] = (-60, -45, -25, 0, 25, 45, 60)
    """Yaws of the photos in degrees; positive turns the nose to the image's right."""
    pitches: Annotated[tuple[int, ...], option(metavar="DEGREES...")] = (-20, 0, 20)
    """Pitches of the photos; positive is up."""
    lights: Annotated[tuple[str, ...], option(metavar="{unlit,mild,hard}...|N")] = ("unlit", "mild", "hard")
    """Lights of the photos; with --albedo also N that are drawn at random, with cast shadows and highlights."""
    albedo: Flag = False
    """Judge how well the light is taken out of the texture, and nothing else; photos are frontal unless poses are
    given."""
    tones: Annotated[tuple[ToneName, ...], option(metavar="{own,light,tan,brown,dark}...")] = ("own",)
    """Skin of the head whose albedo is judged."""
    targets: Annotated[tuple[int, ...], option(metavar="DEGREES...")] = (-40, 0, 40)
    """Yaws at which the completed face is compared."""
    pairs: Annotated[tuple[str, ...], option(metavar="INPUT:TARGET...")] = ()
    """INPUT:TARGET yaws, as 25:-40, in place of yaws, pitches and targets."""
    baselines: Flag = False
    """Also judge median colour, mirroring, inpainting, the prior alone, and the true texture itself."""
    face_model: FaceModel = NO_HEAD
    """none judges the face alone; the others judge the head that is made with them as well."""
    completion: Flat[CompletionOptions] = field(default_factory=CompletionOptions)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code: 1 if some photos could not be completed."""
        self.running.begin()
        settings, parts = self._settings(), self._parts()

        from ostec.app.console import say, shown
        from ostec.app.eval.run import carry_out, finish, out_folder
        from ostec.eval.head.run import KIND, HeadTask, head_study
        from ostec.eval.report.pictures import SHEET
        from ostec.eval.report.record import table
        from ostec.io.files import write_atomic

        for path in (path for part in parts for path in (part.mesh, part.texture)):
            need_file(path, "The head's file")
        folder = out_folder(self.out, KIND)
        logger.info("Finding the head's true texture.")
        study = head_study(HeadTask(parts, settings, folder))
        evaluation = carry_out(study, self.running)
        write_atomic(folder / BY_LIGHT, table(evaluation, ("light",)).encode("utf-8", "replace"))
        code = finish(folder, evaluation, study.by, self.running)
        if not self.running.quiet:
            say(f"The pictures are in {shown(folder / SHEET)}, the same by light in {shown(folder / BY_LIGHT)}.")
        return code

    def _settings(self) -> "HeadSettings":
        from ostec.eval.head.run import HeadSettings, Pair

        more = {"materials": "gltf", "uv_size": 512} if self.albedo else {}  # as large as the truth
        completion = self.completion.settings(face_model=self.face_model, **more)
        lights = tuple(name for light in self.lights for name in _lights_of(light))
        yaws, pitches = self.yaws, self.pitches
        if self.albedo:
            yaws = (0,) if yaws == EvalHead.yaws else yaws
            pitches = (0,) if pitches == EvalHead.pitches else pitches
        try:
            for text in self.pairs:
                if not re.fullmatch(r"[+-]?\d{1,3}:[+-]?\d{1,3}", text):
                    raise ValueError(f"pairs must be INPUT:TARGET yaws as 25:-40, got {text!r}.")
            pairs = tuple(Pair(*map(int, text.split(":"))) for text in self.pairs)
            return HeadSettings(
                yaws=yaws,
                pitches=pitches,
                lights=lights,
                targets=self.targets,
                pairs=pairs,
                albedo=self.albedo,
                tones=self.tones,
                baselines=self.baselines,
                completion=completion,
            )
        except ValueError as error:
            raise refusal(error, [field.name for field in fields(self)]) from error

    def _parts(self) -> "tuple[PartFiles, ...]":
        from ostec.eval.head.mesh import PartFiles

        if len(self.part_texture) not in (0, 1, len(self.part)) or len(self.part_texture) > len(self.part):
            raise UsageError(
                f"--part-texture must name one texture for all parts or one for each of them, not "
                f"{len(self.part_texture)} for {len(self.part)}."
            )
        textures = self.part_texture or (self.texture,)
        textures *= len(self.part) if len(textures) == 1 else 1
        parts = (PartFiles(mesh, texture) for mesh, texture in zip(self.part, textures, strict=True))
        return PartFiles(self.mesh, self.texture), *parts


def _lights_of(asked: str) -> tuple[str, ...]:
    """Names of lights: a number is that many at random."""
    return tuple(f"lamps{k}" for k in range(int(asked))) if asked.isdecimal() else (asked,)
