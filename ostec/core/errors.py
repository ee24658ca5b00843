"""The error tree: what went wrong in the world, as opposed to in the caller's arguments.

A bad argument raises ``ValueError`` or ``TypeError``. Everything that a correct program can still meet
(an unreadable photo, no face, missing weights, a full disk) is a child of :class:`OstecError`, whose text is
one sentence that a user can act on.
"""


class OstecError(Exception):
    """Base of every error that is not the caller's mistake. Its text is one sentence for the user."""

    stage: str = ""
    """Stage of a photo's work in which it arose, such as ``detect``; empty where there is none."""


class ImageError(OstecError):
    """A file is no image, is damaged, or is larger than the limit."""


class FaceError(OstecError):
    """No face, or none that can be used, in a readable photo."""


class AssetError(OstecError):
    """A file of the program (weights, topology, manifest) is missing, damaged or not the expected one."""


class WeightsError(AssetError):
    """A checkpoint holds other tensors than its network, or something that is not data."""


class DownloadError(AssetError):
    """A file cannot be fetched: no address gave the expected bytes, or the disk has no room for them."""


class BackendError(OstecError):
    """A device or optional library that was asked for is not available."""


class OutputError(OstecError):
    """A result cannot be written."""


class UsageError(OstecError):
    """The request as a whole cannot be started (exit code 2)."""


class OstecWarning(UserWarning):
    """What the user of a result should know of it; the same sentences are in its record."""


def kind_of(value: object) -> str:
    """What kind of thing a value is, with its article, for a sentence: ``a list``, ``an int``."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
