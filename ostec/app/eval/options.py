"""Options that ``ostec eval`` commands share. Nothing heavy is imported here, so that ``--help`` is quick."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from ostec.app.checks import need_files, refusal
from ostec.app.options import Quiet, Verbose, option
from ostec.core.errors import UsageError
from ostec.core.settings import NO_HEAD, Mode, Way
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class RunOptions:
    """How the run goes about it."""

    workers: int = 0
    """Processes, one per core at most; 0 takes one per core."""
    quiet: Quiet = False
    """Say nothing but warnings and errors; the table is in table.txt."""
    verbose: Verbose = False
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

    iterations: Annotated[int, option(aliases=["-i"])] = 50
    """Iterations per projected view at most."""
    mode: Annotated[Mode, option(aliases=["-m"])] = "soft"
    """soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw and generator."""
    generator: Annotated[str, option(metavar="default|none|NAME|FILE")] = "default"
    """default, none (as 0 iterations), a name of ostec models list (stylegan2_ffhq), or a generator's file."""
    prior: Annotated[str, option(metavar="default|none|FILE")] = "default"
    """default, none, or a file of ostec train prior."""
    completer: Way = "auto"
    """auto, prior, generator or diffusion; see ostec complete."""
    denoiser: Annotated[str, option(metavar="default|FILE")] = "default"
    """Network of completer diffusion: default, or a file of ostec train diffusion."""

    def settings(self, **others: Any) -> CompleteSettings:
        """Settings of the completion, with others of their fields. Raises UsageError for values that mean nothing."""
        need_files(generator=self.generator, prior=self.prior, denoiser=self.denoiser)
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        try:
            return CompleteSettings(**{"face_model": NO_HEAD, **own, **others})
        except ValueError as error:
            raise refusal(error, [field.name for field in fields(CompleteSettings)]) from error
