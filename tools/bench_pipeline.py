"""Measure seconds per stage and photos per hour, with the options of ``ostec complete``.

See docs/benchmarks.md::

    python tools/bench_pipeline.py photos/ --repeats 5 --json speed.json
"""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
from tyro.conf import Positional

from bench.clock import described
from bench.photos import measure_photos
from ostec.app.checks import need_files
from ostec.app.console import begin, say
from ostec.app.options import Flat, Quiet, Verbose, option
from ostec.app.parse import parse
from ostec.app.photos.sources import find_photos
from ostec.app.train.prior import training_device
from ostec.core.errors import OstecError, UsageError
from ostec.core.settings import Device, to_json
from ostec.core.text import align
from ostec.io.files import write_atomic
from ostec.pipeline import Completer
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger("ostec.app.bench")


@dataclass(frozen=True)
class BenchPipeline:
    """Complete one photo or a folder of them again and again, and measure every stage.

    The first photo is done once before, which is said apart: parts of the program are compiled on first use. The
    results themselves go into a folder that is removed.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="PHOTO|DIR", help_behavior_hint="(required)")]
    """A photo, or a folder of photos (with all that is below it)."""
    repeats: int = 3
    """How often each photo is done."""
    settings: Flat[CompleteSettings] = field(default_factory=CompleteSettings)
    threads: int = 0
    """Threads; 0: as PyTorch chooses."""
    json: Annotated[str | None, option(metavar="FILE")] = None
    """File for all figures; an older one is replaced."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    quiet: Quiet = False
    """Say nothing but the table, warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code: 1 where some photos failed."""
        begin(self.quiet, self.verbose)
        self._check()
        photos = find_photos(self.source)
        if self.threads:
            torch.set_num_threads(self.threads)
        training_device(self.device)
        logger.info("Loading the networks.")
        begun = time.perf_counter()
        completer = Completer.from_pretrained(self.settings, self.device)
        loaded = time.perf_counter() - begun
        machine = described(completer.device)
        with TemporaryDirectory(prefix="ostec-bench-") as folder:
            found = measure_photos(completer, photos, Path(folder), self.repeats, logger.info)
        found |= {"load_s": loaded, "settings": to_json(self.settings), "machine": machine}
        if self.json is not None:
            text = json.dumps(found, indent=2, sort_keys=True, allow_nan=False)
            write_atomic(Path(self.json), (text + "\n").encode())
            logger.info("Wrote %s.", self.json)
        say(table(found))
        return 1 if found["failed"] else 0

    def _check(self) -> None:
        if self.json is not None:
            if not self.json or Path(self.json).is_dir():
                raise UsageError(f"--json must be a file, and {self.json!r} is none.")
            if not Path(self.json).parent.is_dir():
                raise UsageError(f"The folder of --json, {Path(self.json).parent}, does not exist.")
        if not self.source:
            raise UsageError("Name a photo, or a folder of photos.")
        if self.repeats < 1:
            raise UsageError(f"--repeats must be 1 or more, not {self.repeats}.")
        if self.threads < 0:
            raise UsageError(f"--threads must be 0 (as PyTorch chooses) or more, not {self.threads}.")
        need_files(generator=self.settings.generator, prior=self.settings.prior)


def table(found: Mapping[str, Any]) -> str:
    """Seconds by stage, and photos per hour, as text."""
    rows = {**found["stages"], "photo": found["s_per_photo"]}
    keys = ("median_s", "least_s", "most_s")
    body = [[name, *(f"{times[key]:.3f}" for key in keys)] for name, times in rows.items()]
    hour = f"{found['photos_per_hour']:.0f} photos an hour ({found['photos_per_hour_least']:.0f} to "
    hour += f"{found['photos_per_hour_most']:.0f} over {found['repeats']} rounds of {found['photos']}"
    left = f"; {len(found['failed'])} failed" if found["failed"] else ""
    start = f"loading {found['load_s']:.1f} s, the very first photo {found['first_s']:.1f} s"
    head = ["seconds", "median", "least", "most"]
    return "\n".join([*align([head, *body], 1), f"{hour}){left}; {start}."])


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write the file, and print the table; returns the exit code."""
    try:
        asked = parse(BenchPipeline, "bench_pipeline.py", list(sys.argv[1:] if words is None else words))
        return asked.run()
    except OstecError as error:
        sys.stderr.write(f"bench_pipeline.py: error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
