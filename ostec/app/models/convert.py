"""``ostec models convert``: a published generator as a file of this project."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.checks import need_file
from ostec.app.console import begin, say, shown
from ostec.app.options import Flag, Quiet, Verbose, option
from ostec.core.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Convert:
    """Write a face generator as safetensors with a JSON beside it, in single precision.

    Read are NVIDIA's StyleGAN2 pickles of TensorFlow and PyTorch, rosinality's .pt, the decoder in an e4e .pt and state
    dicts with NVIDIA's names. Nothing in the file is executed. Its licence holds for the new file too.
    """

    checkpoint: Annotated[Path, Positional, option(metavar="FILE")]
    """The file as it was published."""
    target: Annotated[Path, Positional, option(metavar="OUT.safetensors")]
    """File to write."""
    overwrite: Flag = False
    """Replace what is there."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Return the exit code."""
        begin(self.quiet, self.verbose)
        self._check()
        from ostec.core.assets import sha256_of
        from ostec.io.files import make_folder, write_atomic
        from ostec.io.weights import encode_safetensors
        from ostec.load.generators import read_generator
        from ostec.nets.checkpoint import generator_to_tensors

        read = read_generator(self.checkpoint)
        for note in read.model.notes:
            logger.warning("%s", note)
        stored = generator_to_tensors(read.model, half=False)
        source = {"file": self.checkpoint.name, "sha256": sha256_of(self.checkpoint)}
        card = {**read.card, **stored.card, "layout": read.layout, "source": source}
        content = encode_safetensors(stored.tensors)
        make_folder(self.target.parent)
        write_atomic(self.target, content)
        text = json.dumps(card, indent=2, sort_keys=True) + "\n"
        write_atomic(self.target.with_suffix(".json"), text.encode())
        shape = read.model.generator.shape
        judge = "with" if read.model.discriminator is not None else "without"
        if not self.quiet:
            say(
                f"{shown(self.target)}: {read.layout}, {shape.resolution} px, {shape.num_ws} latents of {shape.w_dim}, "
                f"{judge} discriminator, {len(content) / 1e6:.1f} MB."
            )
        return 0

    def _check(self) -> None:
        if self.target.suffix != ".safetensors":
            raise UsageError(f"The file to write must end in .safetensors, got {shown(self.target)}.")
        need_file(self.checkpoint, "The file")
        if self.target.exists() and self.target.samefile(self.checkpoint):
            raise UsageError("The file to write must be another than the one to read.")
        there = [path for path in (self.target, self.target.with_suffix(".json")) if path.exists()]
        if there and not self.overwrite:
            raise UsageError(f"{shown(there[0])} exists already; --overwrite replaces it.")
