"""What decides the content of a completion and of an inversion. Nothing heavy is imported here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from tyro.conf import arg

from ostec.complete.settings import DiffusionSettings, PortraitSettings, TurnSettings
from ostec.core.settings import (
    FACE_MODELS,
    MAX_SAMPLES,
    MAX_UV_SIZE,
    MIN_UV_SIZE,
    NO_HEAD,
    Encoder,
    Expression,
    FaceModel,
    Faces,
    Fit,
    Hair,
    Materials,
    Mode,
    Schedule,
    Way,
    check_choice,
    flat,
    to_json,
)
from ostec.detect.settings import DetectSettings, FollowSettings, LandmarkSettings
from ostec.fit.settings import DenseFitSettings, MorphableFitSettings, RgbFitSettings, TrackFitSettings
from ostec.heads.settings import HeadTextureSettings
from ostec.light.settings import ITA_RANGE, LightSettings
from ostec.mask.settings import CoverSettings, HandSettings, MaskSettings, MosaicSettings
from ostec.prior.settings import PriorSettings
from ostec.project.settings import ProjectionSettings
from ostec.stitch.settings import BlendSettings, ViewSettings

READ_MODELS = {"deep3d": "bfm", "faceverse": "faceverse"}
"""Network that reads coefficients -> the face model that they belong to."""

ONE_PASS = ("prior", "diffusion")
"""Completers that project no view."""


@dataclass(frozen=True)
class ObserveSettings:
    """How a photo's face is found, fitted and masked."""

    detect: DetectSettings = field(default_factory=DetectSettings)
    landmarks: LandmarkSettings = field(default_factory=LandmarkSettings)
    mesh: DenseFitSettings = field(default_factory=DenseFitSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    hands: HandSettings = field(default_factory=HandSettings)
    mosaic: MosaicSettings = field(default_factory=MosaicSettings)
    covers: CoverSettings = field(default_factory=CoverSettings)


@dataclass(frozen=True)
class FullHeadSettings:
    """How the full head is made."""

    fit: MorphableFitSettings = field(default_factory=MorphableFitSettings)
    texture: HeadTextureSettings = field(default_factory=HeadTextureSettings)


@dataclass(frozen=True)
class CompleteSettings:
    """What decides the content of one completion; equal settings, device and threads give equal files.

    Raises:
        ValueError: a value is out of range, or nothing is left that could fill unseen texels.
    """

    completer: Way = "auto"
    """prior fills what the photo does not show with the most probable face, generator projects views of it into a
    StyleGAN2, diffusion draws detail over the prior's; auto is generator, unless there are 0 iterations or no
    generator."""
    samples: Annotated[int, arg(metavar="N")] = 0
    """Also write this many completions that are as plausible, 2 to 16, and a map of where they differ; with completer
    prior or diffusion."""
    seed: int = 0
    """Of what completer diffusion and the samples draw."""
    mode: Annotated[Mode, arg(aliases=["-m"])] = "auto"
    """soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw and generator."""
    iterations: Annotated[int, arg(aliases=["-i"])] = 200
    """Iterations per projected view at most; 0 projects none and leaves unseen texels to the prior."""
    schedule: Schedule = "progressive"
    """progressive: each view sees what those before it made; waves: mirror views are projected at once, which is
    faster."""
    frontalize: Annotated[bool, arg(aliases=["-f"], help_behavior_hint="")] = False
    """Also write the frontal portrait."""
    iterations_frontalize: int = 300
    """Iterations of the frontal portrait's own projection."""
    faces: Faces = "largest"
    """Which faces of a photo are completed."""
    generator: Annotated[str, arg(metavar="default|none|NAME|FILE")] = "default"
    """default, none (as 0 iterations), a name of ostec models list (stylegan2_ffhq), or a generator's file."""
    prior: Annotated[str, arg(metavar="default|none|FILE")] = "default"
    """default, none, or a file of ostec train prior."""
    denoiser: Annotated[str, arg(metavar="default|FILE")] = "default"
    """Network of completer diffusion: default, or a file of ostec train diffusion."""
    face_model: FaceModel = "head"
    """Model that the full head is made with: head ships, the others' files must be there; none writes no head."""
    fit: Fit = "landmarks"
    """What decides the face model's shape: landmarks, or a published network that reads it from the photo (deep3d for
    bfm, faceverse for faceverse)."""
    expression: Expression = "photo"
    """What the head shows: the photo's expression, or none. Its GLB has all expressions either way."""
    hair: Hair = "painted"
    """Hair on the head's scalp: painted as the photo shows it, or none."""
    uv_size: Annotated[int, arg(metavar="256..4096")] = 1024
    """Side of the UV texture in texels, 256 to 4096."""
    materials: Materials = "none"
    """Also take the photo's light out: albedo, normals, occlusion, roughness and specular maps, and a head that uses
    them; unreal writes normals for DirectX too."""
    skin_tone: Annotated[str, arg(metavar="keep|ITA")] = "keep"
    """How bright the albedo's skin is: as in the photo, or an ITA in degrees (55 very light, 28 tan, -30 dark).
    One photo cannot tell a bright lamp from bright skin."""
    turntable: Annotated[bool, arg(help_behavior_hint="")] = False
    """Also write an animation of the head turning."""
    save_views: Annotated[bool, arg(help_behavior_hint="")] = False
    """Also write every projected view: its render, what of it was trusted, the generated picture, its latent."""

    observe: ObserveSettings = field(default_factory=ObserveSettings)
    fill: PriorSettings = field(default_factory=PriorSettings)
    project: ProjectionSettings = field(default_factory=ProjectionSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)
    portrait: PortraitSettings = field(default_factory=PortraitSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    turn: TurnSettings = field(default_factory=TurnSettings)
    head: FullHeadSettings = field(default_factory=FullHeadSettings)
    light: LightSettings = field(default_factory=LightSettings)

    @property
    def projects(self) -> bool:
        """Whether views are projected into a generator."""
        return self.completer not in ONE_PASS and self.iterations > 0 and self.generator != "none"

    def __post_init__(self) -> None:
        if self.face_model == "facemesh":  # as earlier versions called it
            object.__setattr__(self, "face_model", NO_HEAD)
        check_choice("completer", self.completer, ("auto", "prior", "generator", "diffusion"))
        check_choice("fit", self.fit, ("landmarks", *READ_MODELS))
        check_choice("mode", self.mode, ("auto", "soft", "hard"))
        check_choice("schedule", self.schedule, ("progressive", "waves"))
        check_choice("faces", self.faces, ("largest", "all"))
        check_choice("face_model", self.face_model, FACE_MODELS)
        check_choice("expression", self.expression, ("photo", "neutral"))
        check_choice("hair", self.hair, ("painted", "none"))
        check_choice("materials", self.materials, ("none", "gltf", "unreal"))
        check_skin_tone(self.skin_tone)
        for name in ("iterations", "iterations_frontalize"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        if not MIN_UV_SIZE <= self.uv_size <= MAX_UV_SIZE:
            raise ValueError(f"uv_size must be {MIN_UV_SIZE} to {MAX_UV_SIZE}, got {self.uv_size}.")
        if self.fit != "landmarks" and self.face_model != READ_MODELS[self.fit]:
            raise ValueError(f"fit {self.fit} reads {READ_MODELS[self.fit]}, so face_model must be that.")
        if self.completer == "generator" and not self.projects:
            raise ValueError("completer generator needs a generator and iterations above 0.")
        if self.samples and self.completer not in ONE_PASS:
            raise ValueError(f"samples needs completer prior or diffusion, got completer {self.completer}.")
        if self.samples and not 2 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples must be 0 or 2 to {MAX_SAMPLES}, got {self.samples}.")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}.")
        if self.prior == "none" and not self.projects:
            named = {"completer": self.completer} if self.completer in ONE_PASS else {"generator": "none"}
            lack = " ".join(*named.items()) if self.iterations else "iterations 0"
            raise ValueError(f"{lack} with prior none leaves nothing that could fill unseen texels.")


@dataclass(frozen=True)
class FitSettings(CompleteSettings):
    """What decides the content of one RGB fit: a completion without generator and light, and the fit before it.

    Raises:
        ValueError: a value is out of range.
    """

    completer: Way = "prior"
    iterations: int = 0
    generator: str = "none"
    materials: Materials = "gltf"
    decoder: str = "default"
    published: bool = False
    rgb: RgbFitSettings = field(default_factory=RgbFitSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.face_model == NO_HEAD or self.prior == "none" or self.materials == "none":
            raise ValueError("face_model, prior and materials must not be none: the fit needs them.")


def check_skin_tone(asked: str) -> None:
    """Raise ValueError unless it is keep or an ITA in degrees."""
    low, high = ITA_RANGE
    try:
        fine = asked == "keep" or low <= float(asked) <= high
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(f"skin_tone must be keep or {low:.0f} to {high:.0f} degrees, got {asked!r}.")


@dataclass(frozen=True)
class InvertSettings:
    """What decides the content of one inversion; equal settings, photo, mask, device and threads give equal files.

    Raises:
        ValueError: a value is out of range, or there is no generator.
    """

    generator: Annotated[str, arg(metavar="default|NAME|FILE")] = "default"
    """default, a name of ostec models list (stylegan2_ffhq), or a generator's file."""
    encoder: Encoder = "default"
    """What gives the starting latent: default, the generator's own encoder or mean latent; e4e, for a StyleGAN2 of FFHQ
    at 1024 px, in one pass where there are 0 iterations."""
    iterations: Annotated[int, arg(aliases=["-i"])] = 200
    """Iterations at most; 0 takes the starting latent as it is."""
    observe: ObserveSettings = field(default_factory=ObserveSettings)
    fill: PriorSettings = field(default_factory=PriorSettings)
    project: ProjectionSettings = field(default_factory=ProjectionSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)

    def __post_init__(self) -> None:
        check_choice("encoder", self.encoder, ("default", "e4e"))
        if self.generator == "none":
            raise ValueError("generator must be default or a file, got 'none'.")
        if self.encoder == "e4e" and self.generator == "default":
            raise ValueError("encoder e4e needs a StyleGAN2 of FFHQ: generator e4e or stylegan2_ffhq.")
        if self.iterations < 0:
            raise ValueError(f"iterations must be 0 or more, got {self.iterations}.")


@dataclass(frozen=True)
class UvIdmSettings:
    """What decides UV-IDM's textures; the defaults are those of its release, but for one seed per photo.

    Raises:
        ValueError: a value is out of range.
    """

    ddim_steps: int = 50
    """Passes of the U-Net, 1 to 1000."""
    ddim_eta: float = 1.0
    """0 draws no noise on the way, 1 as much as DDPM."""
    seed: int = 23
    """Of the noise."""
    seed_once: Annotated[bool, arg(help_behavior_hint="")] = False
    """Seed before the first photo only, as released: a result then depends on its place in the list."""
    published: Annotated[bool, arg(help_behavior_hint="")] = False
    """Repeat the release's slips: the photo is read half a pixel beside, and one ear stays."""
    averaged: Annotated[bool, arg(help_behavior_hint="")] = False
    """Take the running mean of the U-Net's weights, which the release does not."""

    def __post_init__(self) -> None:
        if not 1 <= self.ddim_steps <= 1000:
            raise ValueError(f"ddim_steps must be 1 to 1000, got {self.ddim_steps}.")
        if not 0 <= self.ddim_eta <= 1:
            raise ValueError(f"ddim_eta must be 0 to 1, got {self.ddim_eta}.")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}.")


@dataclass(frozen=True)
class TrackSettings:
    """What decides the content of a tracked recording.

    Raises:
        ValueError: a value is out of range.
    """

    face_model: FaceModel = "head"
    """Model that the head is made with: head ships; ict has ARKit's expressions too."""
    faces: Faces = "largest"
    """largest follows the face that is largest at the start, all each face."""
    smooth: Annotated[float, arg(metavar="0..1")] = 0.5
    """How much jitter is taken out: 0 not at all."""
    neutral: Annotated[str, arg(metavar="auto|FRAME")] = "auto"
    """What counts as the face at rest: the calmest frames of the start, or one frame by its number."""
    uv_size: Annotated[int, arg(metavar="256..4096")] = 1024
    """Side of the head's texture in texels."""
    learn_frames: Annotated[int, arg(metavar="N")] = 30
    """Frames that a head is learnt from."""
    learn_at_most: Annotated[int, arg(metavar="N")] = 150
    """Frames after which a head is learnt from what there is."""
    observe: ObserveSettings = field(default_factory=ObserveSettings)
    follow: FollowSettings = field(default_factory=FollowSettings)
    fit: TrackFitSettings = field(default_factory=TrackFitSettings)

    def __post_init__(self) -> None:
        check_choice("faces", self.faces, ("largest", "all"))
        check_choice("face_model", self.face_model, FACE_MODELS[1:])
        if not 0 <= self.smooth <= 1:
            raise ValueError(f"smooth must be 0 to 1, got {self.smooth}.")
        if self.neutral != "auto" and not self.neutral.isdecimal():
            raise ValueError(f"neutral must be auto or the number of a frame, got {self.neutral!r}.")
        if not MIN_UV_SIZE <= self.uv_size <= MAX_UV_SIZE:
            raise ValueError(f"uv_size must be {MIN_UV_SIZE} to {MAX_UV_SIZE}, got {self.uv_size}.")


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`to_json` gave, by name, for people: settings of stages only where they are not the defaults."""
    usual = flat(json.loads(json.dumps(to_json(CompleteSettings()))))
    return {name: value for name, value in flat(values).items() if "." not in name or value != usual.get(name)}
