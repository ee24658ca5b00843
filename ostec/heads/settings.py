"""How the face's texture goes over into the head's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadTextureSettings:
    """How the face's texture goes over into the head's; lengths in millimetres, those of textures in UV."""

    rim_mm: tuple[float, float] = (3.0, 18.0)
    """Distance from the rim of the face mesh from which its detail begins to count, and from which it counts fully."""
    colour_mm: tuple[float, float] = (6.0, 26.0)
    """The same for its colour: near the rim, seen at a slant, skin is darkened, or hair."""
    seam_mm: tuple[float, float] = (0.5, 7.0)
    """The same for both where the head's face has the texture as it is: the next part begins farther inside."""
    off_mm: tuple[float, float] = (6.0, 12.0)
    """Distance between the surfaces up to which the texture counts fully, and from which not at all."""
    sunk_mm: tuple[float, float] = (3.0, 8.0)
    """How far behind the face mesh the head begins to be dark, as inside the nostrils, and is darkest."""
    dark: float = 0.8
    """How much light is missing there."""
    reach_mm: float = 60.0
    """How far the colour at the face's rim is carried outwards, before it has become the face's mean skin colour."""
    hold: float = 1.0
    """How strongly the carried colour holds on to the face's, in units of its smoothness over a millimetre."""
    unlike: float = 0.25
    """Difference from the skin's colour at which a colour at the rim (hair, shadow) counts less."""
    smooth: float = 10 / 1024
    """Deviation of the low-pass that is carried outwards."""
    grain: float = 0.6
    """Share of the face's own fine contrast that the skin beyond it gets."""
