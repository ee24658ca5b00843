"""``ostec transfer``: finished textures in the layouts of other models."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from ostec.app.options import Flat, option
from ostec.app.photos.options import RunOptions
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

    results: Annotated[tuple[str, ...], Positional, option(metavar="RESULT...", help_behavior_hint="(required)")]
    """Results of ostec complete: NAME.json, NAME.npz, or a folder with all that are in it."""
    to: Target
    """The model; ostec models show says where its files are looked for."""
    out: Annotated[str | None, option(aliases=["-o"], metavar="DIR")] = None
    """Folder to write into, made if it does not exist; beside each result if not given."""
    size: Annotated[int | None, option(metavar="256..4096")] = None
    """Side of the textures in texels; that of the result's texture if not given."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.transfers import transfer_results

        begin(self.running.quiet, self.running.verbose)
        return transfer_results(self.results, self.to, self.out, self.size, self.running)
