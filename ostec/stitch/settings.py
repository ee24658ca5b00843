"""How photo, views and fill become one texture."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EyeSettings:
    """How a hidden eye is drawn from the other one; lengths in UV."""

    seen: float = 0.85
    """Mean belief in an eye's texels from which it is seen, and can be the model of one that is not."""
    colour: float = 0.03
    """Deviation of the low-pass within which the eye takes the fill's colour."""
    gain: tuple[float, float] = (0.6, 1.5)
    """Least and largest factor that this takes."""
    turn: float = 1.0
    """Way of the mirrored iris in units of the seen one's way from the middle: 2 if that were known exactly; half as
    much scored best on held-out portraits."""
    joint: float = 0.4
    """Width of the joint within a half-hidden eye, in half widths of the opening: irises seldom meet exactly."""
    most_turned: float = 0.45
    """Largest way of an iris in half widths of the opening; the warp folds at 0.5."""


@dataclass(frozen=True)
class GrainSettings:
    """How the grain of skin is continued; lengths in UV."""

    patch: float = 0.03
    """Side of a patch: a few pores wide, narrower than a wrinkle is long."""
    calm: float = 1.7
    """Strength of detail, over the median, up to which it is grain: wrinkles, stubble and moles are stronger."""
    least: float = 0.002
    """Share of the chart in which a patch must be able to begin, lest the same ones repeat."""


@dataclass(frozen=True)
class BlendSettings:
    """How photo and fill are joined; lengths in UV, so that they do not depend on the texture's size."""

    trust: float = 0.4
    """Cosine of the view angle above which the photo is believed (OSTeC)."""
    trust_profile: float = 0.6
    """The same beyond ``profile_deg`` of yaw (OSTeC)."""
    profile_deg: float = 30.0
    """Yaw in degrees that counts as a profile."""
    trust_interior: float = 0.15
    """Cosine that is enough far from the silhouette, where no background can leak in."""
    silhouette_mm: float = 5.0
    """Photo texels nearer than this to the mesh's outline are not believed: 3 % of a face's height."""
    interior_mm: float = 14.0
    """Distance from the outline that counts as far."""
    own_colour: tuple[float, float] = (0.4, 0.8)
    """Cosine from which the photo's colour begins to count, and from which it counts fully; its detail counts before:
    what is seen at a slant is darkened or shines."""
    feather: float = 6 / 1024
    """Deviation of the blur of the joint in UV; smaller than OSTeC's 40 px because the fill already meets the photo."""
    detail: float = 20 / 1024
    """Deviation of the low-pass that separates colour (from the fill) from mirrored detail (from the photo)."""
    detail_limit: float = 0.15
    """Largest mirrored detail: brows and the lips' corners come over, a lamp's reflection does not."""
    eye: EyeSettings = field(default_factory=EyeSettings)
    """How a hidden eye is drawn from the other one."""
    grain: GrainSettings = field(default_factory=GrainSettings)
    """How the grain of skin is continued."""
    padding: float = 24 / 1024
    """Width of the padding outside the chart."""


@dataclass(frozen=True)
class ColourSettings:
    """How colours are matched; lengths in UV."""

    reach: float = 60 / 1024
    """Deviation of the low-pass that carries the remaining difference over the joint."""
    contrast: tuple[float, float] = (0.7, 1.4)
    """Least and largest factor of the deviation: an overlap of bare skin says little about contrast."""
    fade: float = 0.05
    """Weight of the overlap, seen through the low-pass, at which a carried difference has faded to half."""
    least: float = 0.01
    """Share of the texels below which nothing is matched, for want of an overlap."""


@dataclass(frozen=True)
class ViewSettings:
    """How generated views are used; lengths in UV."""

    own: tuple[float, float] = (0.3, 0.5)
    """Cosine from which a view begins to own a texel, and from which it owns it fully (OSTeC: 0.4)."""
    outline_mm: tuple[float, float] = (8.0, 18.0)
    """Distance from the view's outline over which ownership rises: the generator blurs its silhouette."""
    sharpness: float = 8.0
    """Power of a view's cosine times weight in the final choice: the best view wins, the second joins softly."""
    detail: float = 20 / 1024
    """Deviation of the low-pass that separates the fill's colour from its detail."""
    colour_share: float = 0.75
    """Share of the generator in the fill's colour; the rest is the prior's."""
    detail_share: float = 1.0
    """Share of the generator in the fill's detail."""
    contrast: float = 3.5
    """Factor of the fill's weak detail where a view gave it: means over what might be there are too smooth."""
    strong: float = 0.05
    """Root mean square of detail that is raised half as much; stronger detail (lids, nostrils, lips) needs nothing."""
    strong_reach: float = 6 / 1024
    """Deviation of the window of that mean."""
    colour: ColourSettings = field(default_factory=ColourSettings)
    """How a view's colours are matched."""
