"""Options that the commands on photos share."""

from dataclasses import dataclass
from typing import Annotated

from ostec.app.options import Flag, Quiet, Verbose, option
from ostec.core.errors import UsageError
from ostec.core.settings import Device


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about it."""

    overwrite: Flag = False
    """Redo what is done already, and replace what is in the way of a result."""
    dry_run: Flag = False
    """Say what would be done and skipped; write nothing."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def begin(self) -> None:
        """Set up logging. Raises UsageError where both are asked for."""
        from ostec.app.console import begin

        begin(self.quiet, self.verbose)


@dataclass(frozen=True)
class DeviceOptions(RunOptions):
    """The same of a run with networks."""

    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    threads: int = 0
    """CPU threads; 0 takes one for each core. The last digits depend on it."""
    config: Annotated[str | None, option(metavar="FILE")] = None
    """TOML file of settings, such as iterations = 100 and [project] ms_ssim = 2; options of the command count more."""

    def begin(self) -> None:
        """Set up logging and threads. Raises UsageError for options that mean nothing."""
        super().begin()
        if self.threads < 0:
            raise UsageError(f"--threads must be 0 (as PyTorch chooses) or more, not {self.threads}.")
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class BatchOptions(DeviceOptions):
    """The same of a run that can take several photos at once."""

    batch: int = 1
    """Photos completed side by side; more is faster on a GPU. The last digits depend on it."""
