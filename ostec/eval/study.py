"""What evaluations of completions share: a job per input, whose rows become a table and a sheet of pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError
from ostec.eval.jobs import Jobs, Outcome, Task, digest_of, program_digest
from ostec.eval.judges import Judges, load_judges
from ostec.eval.report.pictures import Cell
from ostec.eval.report.record import Evaluation, Row
from ostec.export.record import versions
from ostec.pipeline import Completer, Models, load_models
from ostec.pipeline.observe import Observer
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class Loaded:
    """Networks, prior, generator and judges; evaluations run on the CPU."""

    models: Models
    completer: Completer
    judges: Judges

    @property
    def observer(self) -> Observer:
        """Brings photos into the layout."""
        return self.completer.observer


@lru_cache(maxsize=1)
def load(settings: CompleteSettings) -> Loaded:
    """Load what ships, or what the settings name; once per process. Raises AssetError."""
    device = torch.device("cpu")
    models = load_models(device, settings)
    return Loaded(models, Completer(models, settings, device, []), load_judges(models))


@dataclass(frozen=True)
class Study:
    """An evaluation of completions."""

    kind: str
    folder: Path
    """Of the evaluation."""
    task: Task
    """Gives ``rows`` of an input, and ``failures`` of single rows."""
    items: Mapping[str, str]
    """Input -> what it is called where it failed: the item of its row, or one that ends in ``*`` for all of them."""
    by: tuple[str, ...]
    """Labels of the rows by which the table has lines."""
    loaded: Loaded
    decisive: Sequence[Any]
    """Plain values that decide an outcome, besides program, weights and judges; not which inputs there are."""
    settings: Mapping[str, Any]
    """Plain values for the record: with the same, the same figures come out."""
    sheet: Callable[[Evaluation], list[list[Cell]]]
    judged: Callable[[Evaluation], Mapping[str, str]] = lambda _: {}
    """Purpose -> what judges or is missing, besides the judges that were loaded."""
    doubts: Callable[[Mapping[str, Outcome]], list[str]] = lambda _: []
    """Sentences about outcomes that look wrong."""
    cell_px: int = 256
    """Side of the sheet's pictures."""

    def jobs(self) -> Jobs:
        """One per input."""
        models, judges = self.loaded.models.hashes, self.loaded.judges.described()
        digest = digest_of(self.kind, models, judges, versions(), program_digest(), *self.decisive)
        return Jobs(tuple(self.items), self.folder, digest)

    def evaluation(self, outcomes: Mapping[str, Outcome]) -> Evaluation:
        """All rows and failures, in the order of the inputs."""
        failures = []
        for key, outcome in outcomes.items():
            if "error" in outcome:
                failures.append({"item": self.items[key], "method": "", "reason": str(outcome["error"])})
            failures += outcome.get("failures", ())
        settings = {**self.settings, "weights": self.loaded.models.hashes}
        models = self.loaded.judges.described()
        found = Evaluation(self.kind, settings, models, rows_of(outcomes), tuple(failures))
        models |= self.judged(found)
        return found


def rows_of(outcomes: Mapping[str, Outcome]) -> tuple[Row, ...]:
    """The rows of jobs' outcomes; a failed job has none."""
    return tuple(Row(**row) for outcome in outcomes.values() for row in outcome.get("rows", ()))


def content_of(path: Path) -> str:
    """SHA-256 of a photo's bytes, for the digest of jobs; of one that cannot be read, that it cannot."""
    try:
        return sha256_of(path)
    except AssetError:
        return "unreadable"
