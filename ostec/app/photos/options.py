"""Options that the commands on photos share."""

from dataclasses import dataclass

from ostec.core.settings import Device


@dataclass(frozen=True)
class BatchOptions:
    """How the run goes about it."""

    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    overwrite: bool = False
    """Redo what is done already, and replace what is in the way of a result."""
    dry_run: bool = False
    """List what would be done and skipped, with the names of the results; write nothing."""
    quiet: bool = False
    """Say nothing but warnings and errors."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""
