"""Which models are on this machine, and in what state."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ostec.core.assets import check_file, expected_file, find_model
from ostec.core.errors import AssetError
from ostec.core.manifests import Manifest, ManifestFile


class State(Enum):
    """What became of a file, or of a model."""

    PRESENT = "present"
    UNPINNED = "unpinned"
    """There, but nobody knows which bytes it should have."""
    PARTLY = "partly"
    """Some of its files are there."""
    MISSING = "missing"
    """Not there, and can be fetched."""
    BY_HAND = "by hand"
    """Not there, and has to be downloaded in a browser."""
    GATED = "gated"
    """Not there, and has to be downloaded after a registration."""
    DAMAGED = "damaged"


@dataclass(frozen=True)
class FileStatus:
    """One file of a manifest."""

    entry: ManifestFile
    path: Path | None
    """Where it is; None where it is not."""
    state: State
    """Present, unpinned, damaged, or in what way it is missing."""
    reason: str = ""
    """What is damaged about it, as a sentence."""


@dataclass(frozen=True)
class ModelStatus:
    """A model with all its files."""

    manifest: Manifest
    files: tuple[FileStatus, ...]
    """In the manifest's order."""
    state: State

    @property
    def chosen(self) -> FileStatus:
        """Of alternatives, the one that would be used: the first that is there, or else the preferred one."""
        return next((file for file in self.files if file.path is not None), self.files[0])

    @property
    def usable(self) -> bool:
        """Whether all is there that is needed, and nothing damaged."""
        return self.state in (State.PRESENT, State.UNPINNED)

    @property
    def needed(self) -> tuple[FileStatus, ...]:
        """Of alternatives the chosen one; of a usable model the files that are there; else all."""
        if self.manifest.any_of:
            return (self.chosen,)
        return tuple(file for file in self.files if file.path is not None or not self.usable)

    @property
    def size(self) -> int:
        """Bytes of the files that are needed; 0 where unknown."""
        files = self.needed
        sizes = [file.path.stat().st_size if file.path is not None else file.entry.size for file in files]
        return sum(sizes) if all(sizes) else 0


def inspect_model(manifest: Manifest, thoroughly: bool = False) -> ModelStatus:
    """Find the files of a model.

    Args:
        thoroughly: compare SHA-256, not sizes alone.
    """
    files = tuple(_inspect_file(manifest, entry, thoroughly) for entry in manifest.files)
    found = ModelStatus(manifest, files, _summary(manifest, {file.state for file in files}))
    instead = [_inspect_file(manifest, entry, thoroughly) for entry in manifest.enough]
    if found.usable or not instead or any(file.path is None for file in instead):
        return found
    further = (file for file in instead if file.entry not in manifest.files)
    return ModelStatus(manifest, (*files, *further), _summary(manifest, {file.state for file in instead}))


def _inspect_file(manifest: Manifest, entry: ManifestFile, thoroughly: bool) -> FileStatus:
    path = find_model(manifest.name, entry.name)
    if path is None:
        browser = State.GATED if manifest.sign_up else State.BY_HAND
        return FileStatus(entry, None, State.MISSING if entry.addresses or manifest.ships else browser)
    try:
        expected = expected_file(entry, path)
        check_file(path, expected.size, expected.sha256 if thoroughly else "")
    except AssetError as error:
        return FileStatus(entry, path, State.DAMAGED, str(error))
    return FileStatus(entry, path, State.PRESENT if expected.sha256 else State.UNPINNED)


def _summary(manifest: Manifest, states: set[State]) -> State:
    there = states & {State.PRESENT, State.UNPINNED}
    if State.DAMAGED in states:
        return State.DAMAGED
    if manifest.any_of and there:
        return State.PRESENT if State.PRESENT in there else State.UNPINNED
    if there == states:
        return State.UNPINNED if State.UNPINNED in there else State.PRESENT
    if there:
        return State.PARTLY
    worst_first = (State.GATED, State.BY_HAND, State.MISSING)
    return next(s for s in (reversed(worst_first) if manifest.any_of else worst_first) if s in states)
