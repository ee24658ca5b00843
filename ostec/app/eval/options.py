"""Options that ``ostec eval`` commands share. Nothing heavy is imported here, so that ``--help`` is quick."""

import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from ostec.app.checks import need_files
from ostec.core.errors import UsageError
from ostec.core.settings import Mode
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class RunOptions:
    """How the run goes about it."""

    workers: int = 0
    """Processes, one per core at most; 0 takes one per core."""
    quiet: bool = False
    """Say nothing but warnings and errors; the table is in table.txt."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""

    def begin(self) -> None:
        """Set up logging. Raises UsageError for options that mean nothing."""
        from ostec.app.console import begin

        begin(self.quiet, self.verbose)
        if self.workers < 0:
            raise UsageError(f"--workers must be 0 (one per core) or more, not {self.workers}.")


@dataclass(frozen=True)
class CompletionOptions:
    """What is judged."""

    iterations: int = 50
    """Iterations per projected view at most."""
    mode: Mode = "soft"
    """soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw and generator."""
    generator: str = "default"
    """default, none, which is as 0 iterations, or a file of ostec train generator."""
    prior: str = "default"
    """default, none, or a file of ostec train prior."""

    def settings(self, **others: Any) -> CompleteSettings:
        """Settings of the completion, with others of their fields. Raises UsageError for values that mean nothing."""
        need_files(generator=self.generator, prior=self.prior)
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        try:
            return CompleteSettings(**own, **others)
        except ValueError as error:
            raise refusal(error, [field.name for field in fields(CompleteSettings)]) from error


def refusal(error: ValueError, options: Collection[str]) -> UsageError:
    """What a record of settings refuses, as a sentence for users: one that begins with an option's name has dashes."""
    sentence = str(error)
    first = re.match(r"\w*", sentence)[0]  # type: ignore[index]
    if first in options:
        return UsageError(f"--{first.replace('_', '-')}{sentence[len(first) :]}")
    return UsageError(sentence[:1].upper() + sentence[1:])
