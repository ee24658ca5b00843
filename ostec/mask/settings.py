"""Where hands are looked for, when they are believed, and how they are drawn."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HandSettings:
    """Where hands are looked for, when they are believed, and how they are drawn."""

    regions: tuple[float, ...] = (1.25, 2.5)
    """Sides of the squares round the face in which palms are looked for, in sides of the face's box; the whole photo is
    searched as well. A hand that fills the face is found in the small one, one beside it in the large one.
    """
    palm_confidence: float = 0.5
    """Least of the palm detector; MediaPipe's value."""
    confidence: float = 0.9
    """Least of the landmark network; MediaPipe asks for 0.5. Hands before faces have 0.94 and more, cheeks at times
    0.85.
    """
    sizes: tuple[float, float] = (0.19, 0.9)
    """Widths of a palm in sides of the face's box; a hand in the plane of the face has 0.35. Ears look like hands of
    0.1, cheeks like hands of up to 0.18.
    """
    overlap: float = 0.3
    """Palms whose boxes share more of their union are one; MediaPipe's value."""
    most: int = 4
    """Palms that are looked at, the surest first."""
    palm_expand: float = 2.6
    """Side of the hand's square over that of the palm's box ..."""
    palm_shift: float = 0.5
    """... and the way from the palm's middle to the square's towards the fingers, in sides of the palm's box."""
    refinements: int = 1
    """How often the landmarks themselves say where to look again."""
    expand: float = 2.0
    """The same two for a second look, round the landmarks."""
    shift: float = 0.1
    finger: float = 0.17
    """Radius of a finger at its root in widths of the palm; the tip has 0.8 of that."""
    margin: float = 0.09
    """What is added all round, in widths of the palm."""
    heel: float = 0.22
    """How far the palm reaches to either side of the wrist, in widths of the palm; the margins come on top."""
    arm: float = 0.5
    """How far the arm is drawn beyond the wrist, in widths of the palm."""


@dataclass(frozen=True)
class CoverSettings:
    """When something is taken to cover the face."""

    least: float = 0.004
    """Smallest region, as a share of the layout."""
    sure: float = 1.5
    """Log odds that half of a region must exceed."""
    part: float = 0.5
    """Share of a part of the face from which all of it counts as covered."""
    border: float = 0.13
    """Distance in UV from the layout's border within which a cover is taken for hair: the colour model masks that more
    gently."""
    told: float = 0.03
    """Smallest share of the face inside that border for a cover that hides no whole part of it."""
    margin: float = 2.5 / 128
    """Width in UV that a cover takes with it at its edge."""
    alike: tuple[float, float, float] = (0.4, 0.12, 0.12)
    """Log light and log tints by which a cover's own colour varies; skin is half as far again from the face's."""
    shades: int = 4
    """Shades of a cover, from dark to light, that are compared: it may be chequered."""
    reach: float = 0.06
    """Distance in UV from a cover within which it may run on anywhere on the face."""
    white: float = 0.1
    """Log of the light beside an iris over the iris's below which there is none: of 1,624 portraits none has less than
    0.12 in both eyes; of drawn lids nine in ten have up to 0.02."""
    lid: float = 0.65
    """Log of the lightest over the darkest across an eye up to which what has no iris is a lid: painted stripes and
    hard shadows have more."""


@dataclass(frozen=True)
class MosaicSettings:
    """When squares of one colour are taken for a mosaic."""

    window: float = 0.34
    """Side of the window in which lines and what lies between them are compared, in distances between the eyes."""
    cell: float = 0.05
    """Smallest square, in the same unit: an eye of finer squares can be seen."""
    still: float = 0.5
    """Change across a column, as a share of the window's mean, below which it lies between the lines."""
    noise: float = 0.3 / 255
    """Change below which it does in any case."""
    share: float = 0.25
    """Share of a window's columns, and of its rows, that must. The eyes of 260 portraits at two sizes have at most
    0.09, those of mosaics 0.85 and more, after JPEG and resampling mostly 0.25 to 0.6."""


@dataclass(frozen=True)
class SpectacleSettings:
    """When there are spectacles, and how their rims are followed."""

    bridge_distance: float = 5.5
    """Squared Mahalanobis distance from skin that a rim reaches all across the nose; without spectacles 4 is rare."""
    rim_distance: float = 8.0
    """The same beyond which a texel belongs to the rim, once there is one."""
    faint_distance: float = 2.0
    """Squared distance all across the nose from which its colour is some evidence of a rim."""
    frame: tuple[float, float] = (1.3, 1.05)
    """Evidence of the bridge's line and half that of the fainter rim, lower quartiles, that proves a frame if the
    colour across the nose is skin's, and if it is some evidence; of 680 bare faces the most is 1.17 and 1.02."""
    crossing: float = 0.6
    """Least evidence of the bridge's line in that: noise alone gives 0.5."""
    radii: tuple[float, float] = (0.04, 0.205)
    """Least and largest distance in UV of a rim from the middle of its eye."""
    angles: int = 160
    """Directions from the eye in which the rim is looked for."""
    contrast: float = 4.0
    """Contrast with both sides, in deviations of skin, that counts as evidence 1."""
    bend: float = 0.2
    """Evidence that a step to the next place costs."""
    evidence: float = 0.4
    """Least evidence, averaged along ``arc``, of a part of the line that is a rim."""
    arc: float = 0.08
    """Share of the line over which evidence is averaged."""
    brow_excess: float = 1.15
    """Evidence on the brow over the upper quartile elsewhere beyond which the line is no rim there but the brow: at
    most 1.09 for rims on a brow in photos, 1.23 and more for brows above rimless lenses."""


@dataclass(frozen=True)
class MaskSettings:
    """How suspicious the colour model is."""

    evidence: float = 1.0
    """Log odds for skin before any colour is looked at."""
    components: int = 4
    """Gaussians in the mixture of the surroundings."""
    skin_like: float = 12.0
    """Squared Mahalanobis distance below which a colour of the surroundings is taken for neck or ear."""
    spectacles: SpectacleSettings = field(default_factory=SpectacleSettings)
    """When there are spectacles."""
    doubt: float = -10.0
    """Log odds at which colour alone stops counting: pupils and nostrils are face."""
    interior: float = 8.0
    """Log odds for skin, whatever the colour, far from the rim."""
    middle: float = 15.0
    """More of the same in the middle of the face."""
    rim: float = 0.16
    """Width in UV over which those odds fall to zero towards the rim."""
    forehead: float = 4.0
    """Odds taken off near the hairline."""
    smooth: float = 1.0 / 128
    """Deviation in UV of the blur that makes the decision regional."""
    retreat: float = 5.0 / 256
    """Width in UV of the neighbourhood that a texel which was taken out takes with it."""
