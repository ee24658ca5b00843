"""``ostec bench pipeline``: seconds per stage and photos per hour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from ostec.app.bench.options import BenchOptions, tell
from ostec.app.options import Flat, option
from ostec.core.errors import UsageError
from ostec.core.text import align
from ostec.pipeline.settings import CompleteSettings


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
    running: Flat[BenchOptions] = field(default_factory=BenchOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code: 1 where some photos failed."""
        from tempfile import TemporaryDirectory

        from ostec.app.checks import need_files
        from ostec.app.console import say
        from ostec.app.photos.sources import find_photos

        self.running.begin()
        if not self.source:
            raise UsageError("Name a photo, or a folder of photos.")
        if self.repeats < 1:
            raise UsageError(f"--repeats must be 1 or more, not {self.repeats}.")
        need_files(generator=self.settings.generator, prior=self.settings.prior)
        photos = find_photos(self.source)

        import time

        from ostec.bench.clock import described
        from ostec.bench.pipeline import measure_photos
        from ostec.core.settings import to_json
        from ostec.pipeline import Completer

        self.running.pick(self.threads)
        tell("Loading the networks.")
        begun = time.perf_counter()
        completer = Completer.from_pretrained(self.settings, self.running.device)
        loaded = time.perf_counter() - begun
        machine = described(completer.device)
        with TemporaryDirectory(prefix="ostec-bench-") as folder:
            found = measure_photos(completer, photos, Path(folder), self.repeats, tell)
        found |= {"load_s": loaded, "settings": to_json(self.settings), "machine": machine}
        self.running.write(found)
        say(table(found))
        return 1 if found["failed"] else 0


def table(found: Mapping[str, Any]) -> str:
    """Seconds by stage, and photos per hour, as text."""
    body = [
        [name, *(f"{times[key]:.3f}" for key in ("median_s", "least_s", "most_s"))]
        for name, times in found["stages"].items()
    ]
    whole = found["s_per_photo"]
    body.append(["photo", *(f"{whole[key]:.3f}" for key in ("median_s", "least_s", "most_s"))])
    hour = f"{found['photos_per_hour']:.0f} photos an hour ({found['photos_per_hour_least']:.0f} to "
    hour += f"{found['photos_per_hour_most']:.0f} over {found['repeats']} rounds of {found['photos']}"
    left = f"; {len(found['failed'])} failed" if found["failed"] else ""
    start = f"loading {found['load_s']:.1f} s, the very first photo {found['first_s']:.1f} s"
    head = ["seconds", "median", "least", "most"]
    return "\n".join([*align([head, *body], 1), f"{hour}){left}; {start}."])
