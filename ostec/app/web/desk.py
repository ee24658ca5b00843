"""What all pages of one server share."""

from dataclasses import dataclass
from pathlib import Path

from ostec.app.web.jobs import Worker
from ostec.app.web.sessions import Sessions
from ostec.app.web.work import Loaded


@dataclass(frozen=True)
class Desk:
    """What all pages share."""

    sessions: Sessions
    worker: Worker
    loaded: Loaded
    local: bool
    """Whether the user sits at this machine, and may name its folders."""
    examples: tuple[Path, ...] = ()
    """Photos to try, among the uploads."""
