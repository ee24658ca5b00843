"""How landmarks answer to expressions: ``models/tracking.safetensors``, made by ``tools/make_tracking.py``."""

from ostec.core.assets import verified_path
from ostec.core.errors import AssetError
from ostec.core.morphable import LandmarkResponse
from ostec.io.weights import read_safetensors

MANIFEST = "tracking"


def read_response() -> LandmarkResponse:
    """Read the file that ships. Raises AssetError if it is missing or damaged."""
    path = verified_path(MANIFEST, "tracking.safetensors")
    try:
        return LandmarkResponse(**{name: x.double().numpy() for name, x in read_safetensors(path).items()})
    except TypeError as error:
        raise AssetError(f"{path} is no response of landmarks.") from error
