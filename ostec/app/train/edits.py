"""``ostec train edits``: how a generator's latents are edited, from its own samples."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ostec.app.checks import need_files
from ostec.app.console import begin
from ostec.app.options import Quiet, Verbose, option
from ostec.core.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainEdits:
    """Draw samples of a generator, measure pose, expression and light, and fit what W gains with each.

    Leaves FILE, of a few kB, and a JSON beside it.
    """

    out: Annotated[Path, option(aliases=["-o"], metavar="FILE.safetensors")]
    """File to write; ostec edit --edits takes it."""
    generator: Annotated[str, option(metavar="default|NAME|FILE")] = "default"
    """default, a name of ostec models list, or a generator's file."""
    samples: int = 1000
    """Pictures that are drawn and measured."""
    seed: int = 0
    """Of the first sample; the others follow."""
    quiet: Quiet = False
    """Warnings and errors only."""
    verbose: Verbose = False
    """Debug messages as well."""

    def run(self) -> int:
        """Return the exit code."""
        begin(self.quiet, self.verbose)
        need_files(generator=self.generator)
        if self.generator == "none" or self.samples < 1 or self.seed < 0:
            raise UsageError("A generator, --samples of 1 or more and --seed of 0 or more are needed.")
        import torch

        from ostec.core.assets import sha256_of
        from ostec.io.files import write_atomic
        from ostec.io.weights import encode_safetensors
        from ostec.load.generators import read_generator
        from ostec.load.networks import asset_file
        from ostec.pipeline.models import load_attribute_reader
        from ostec.project.edit import edits_to_tensors
        from ostec.train.edits import fit_and_judge, measure_samples

        path = asset_file("generator", self.generator)
        generator = read_generator(path).model.generator
        reader = load_attribute_reader(torch.device("cpu"))

        def report(done: int) -> None:
            if done % 100 == 0:
                log.info("%d of %d samples measured", done, self.samples)

        samples = measure_samples(generator, reader, self.samples, self.seed, report)
        edits, explained = fit_and_judge(samples)
        card = {
            "generator": {"file": path.name, "sha256": sha256_of(path)},
            "samples": len(samples.latents),
            "without_face": samples.dropped,
            "seed": self.seed,
            "explained_by_w": explained,
        }
        write_atomic(self.out, encode_safetensors(edits_to_tensors(edits)))
        write_atomic(self.out.with_suffix(".json"), (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
        log.info("Wrote %s from %d samples, %d without a face.", self.out, len(samples.latents), samples.dropped)
        return 0
