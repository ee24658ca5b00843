"""``ostec invert``: photos projected into the face generator."""

from dataclasses import dataclass, field

from ostec.core.settings import Device
from ostec.pipeline.settings import InvertSettings


@dataclass(frozen=True)
class Invert:
    """Project the largest face in each photo into the generator: its picture, its latents, their record.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    source: tuple[str, ...]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: str
    """Folder of the results; made if it does not exist."""
    mask_dir: str | None = None
    """Folder of masks named like the photos (STEM.png, or another picture): white is trusted, black is not."""
    settings: InvertSettings = field(default_factory=InvertSettings)
    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    overwrite: bool = False
    """Redo what is done already, and replace what is in the way of a result."""
    quiet: bool = False
    """Say nothing but warnings and errors."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.inversions import invert_sources

        begin(self.quiet, self.verbose)
        return invert_sources(self)
