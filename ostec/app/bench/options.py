"""What the ``ostec bench`` commands share: options, and the file of figures."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ostec.app.console import begin
from ostec.app.options import Quiet, Verbose, option
from ostec.core.errors import UsageError
from ostec.core.settings import Device

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchOptions:
    """How the measurement goes about it."""

    json: Annotated[str | None, option(metavar="FILE")] = None
    """File for all figures; an older one is replaced."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    quiet: Quiet = False
    """Say nothing but the table, warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def begin(self) -> None:
        """Set up logging. Raises UsageError for options that mean nothing, and where the file could not be written."""
        begin(self.quiet, self.verbose)
        need_place(self.json, "--json")

    def pick(self, threads: int = 0) -> "torch.device":
        """The device, with that many threads unless 0. Raises BackendError, and UsageError for a negative number."""
        from ostec.app.train.prior import training_device

        if threads < 0:
            raise UsageError(f"--threads must be 0 (as PyTorch chooses) or more, not {threads}.")
        if threads:
            import torch

            torch.set_num_threads(threads)
        return training_device(self.device)

    def write(self, figures: Mapping[str, Any]) -> None:
        """Write the file, if one was asked for. Raises OutputError."""
        if self.json is None:
            return
        from ostec.io.files import write_atomic

        text = json.dumps(_finite(figures), indent=2, sort_keys=True, allow_nan=False)
        write_atomic(Path(self.json), (text + "\n").encode())
        logger.info("Wrote %s.", self.json)


def need_place(file: str | None, option: str) -> None:
    """Raise UsageError unless a file of that name could be written; None is none at all."""
    if file is None:
        return
    path = Path(file)
    if not file or path.is_dir():
        raise UsageError(f"{option} must be a file, and {file!r} is none.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder of {option}, {path.parent}, does not exist.")


def tell(sentence: str) -> None:
    """A remark about what is measured now."""
    logger.info("%s", sentence)


def _finite(value: Any) -> Any:
    """JSON knows no NaN: what is no number becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
