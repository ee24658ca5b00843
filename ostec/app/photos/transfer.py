"""``ostec transfer``: finished textures in the layouts of other models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ostec.core.settings import FACE_MODELS

if TYPE_CHECKING:
    Target = str
else:  # the command line offers what the manifests name
    Target = Literal[FACE_MODELS[1:]]


@dataclass(frozen=True)
class Transfer:
    """Bring the textures of finished faces into another model's UV layout, and fit that model to each face.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    results: tuple[str, ...]
    """Results of ostec complete: NAME.json, NAME.npz, or a folder with all that are in it."""
    to: Target
    """The model; ostec models show says where its files are looked for."""
    out: str | None = None
    """Folder to write into, made if it does not exist; beside each result if not given."""
    size: int | None = None
    """Side of the textures in texels; that of the result's texture if not given."""
    overwrite: bool = False
    """Redo what is done already, and replace what is in the way of a file."""
    quiet: bool = False
    """Say nothing but warnings and errors."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.transfers import transfer_results

        begin(self.quiet, self.verbose)
        return transfer_results(self)
