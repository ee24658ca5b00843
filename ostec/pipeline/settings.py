"""What decides the content of a completion and of an inversion. Nothing heavy is imported here."""

from dataclasses import dataclass

from ostec.core.settings import FACE_MODELS, MAX_UV_SIZE, MIN_UV_SIZE, FaceModel, Faces, Mode, Schedule, check_choice


@dataclass(frozen=True)
class CompleteSettings:
    """What decides the content of one completion; equal settings, seed, device and threads give equal files.

    Raises:
        ValueError: a value is out of range, or nothing is left that could fill unseen texels.
    """

    mode: Mode = "auto"
    """soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw and generator."""
    iterations: int = 200
    """Iterations per projected view at most; 0 projects none and leaves unseen texels to the prior."""
    schedule: Schedule = "progressive"
    """progressive: each view sees what those before it made; waves: mirror views are projected at once, which is
    faster."""
    frontalize: bool = False
    """Also write the frontal portrait."""
    iterations_frontalize: int = 300
    """Iterations of the frontal portrait's own projection."""
    faces: Faces = "largest"
    """Which faces of a photo are completed."""
    generator: str = "default"
    """default, none, which is as 0 iterations, or a file of ostec train generator or with a published StyleGAN2."""
    prior: str = "default"
    """default, none, or a file of ostec train prior."""
    face_model: FaceModel = "facemesh"
    """facemesh ends at the hairline; the others, whose files must be there, also write a head (ict: the whole one)."""
    uv_size: int = 1024
    """Side of the UV texture in texels, 256 to 4096."""
    seed: int = 0
    """Seed of everything that is drawn."""
    turntable: bool = False
    """Also write an animation of the head turning."""
    save_views: bool = False
    """Also write every projected view: its render, what of it was trusted, the generated picture, its latent."""

    @property
    def projects(self) -> bool:
        """Whether views are projected into a generator."""
        return self.iterations > 0 and self.generator != "none"

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("auto", "soft", "hard"))
        check_choice("schedule", self.schedule, ("progressive", "waves"))
        check_choice("faces", self.faces, ("largest", "all"))
        check_choice("face_model", self.face_model, FACE_MODELS)
        for name in ("iterations", "iterations_frontalize", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        if not MIN_UV_SIZE <= self.uv_size <= MAX_UV_SIZE:
            raise ValueError(f"uv_size must be {MIN_UV_SIZE} to {MAX_UV_SIZE}, got {self.uv_size}.")
        if self.prior == "none" and not self.projects:
            lack = "iterations 0" if self.iterations == 0 else "generator none"
            raise ValueError(f"{lack} with prior none leaves nothing that could fill unseen texels.")


@dataclass(frozen=True)
class InvertSettings:
    """What decides the content of one inversion; equal settings, photo, mask, device and threads give equal files.

    Raises:
        ValueError: a value is out of range, or there is no generator.
    """

    generator: str = "default"
    """default, or a file of ostec train generator."""
    iterations: int = 200
    """Iterations at most; 0 takes the starting latent as it is."""
    seed: int = 0
    """Seed of everything that is drawn."""

    def __post_init__(self) -> None:
        if self.generator == "none":
            raise ValueError("generator must be default or a file, got 'none'.")
        for name in ("iterations", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
