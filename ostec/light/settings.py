"""Settings of :mod:`ostec.light`."""

from dataclasses import dataclass

ITA_RANGE = (-60.0, 75.0)
"""Degrees of ITA that skin may be asked for."""


@dataclass(frozen=True)
class LightSettings:
    """How light is taken out of a photo."""

    turns: int = 6
    """Of lamps and albedo."""
    even: float = 2e-2
    """How firmly the lamps are held to an even sky."""
    coloured: bool = True
    """Whether lamps may have different colours."""
    grey: float = 0.5
    """How firmly the lamps are held to one colour."""
    tau: float = 8.0
    """Factor of the albedo's noise: neighbouring texels err together."""
    spread: float = 0.06
    """Deviation in log light that light explains badly without being an outlier."""
    freedom: float = 4.0
    """Degrees of freedom of the Student t."""
    least: float = 0.2
    """Least light, in units of its mean: skin passes light on from lit places to dark ones."""
    cosine: tuple[float, float] = (0.1, 0.4)
    """Cosines of the view angle at which a texel begins to count and counts fully."""
    edge: float = 3.0
    """Error of the light's place, in texels of the albedo's model."""
    doubt: float = 0.2
    """Relative error of the light's log."""
    tint: float = 0.15
    """Variance of skin's tint relative to that of its brightness."""
    uneven: tuple[float, float] = (0.16, 0.25)
    """Deviations of the light's log over the face up to which nothing is taken out, and from which all is."""
    outlier: tuple[float, float] = (1.5, 3.0)
    """Deviations from which what is unexplained begins to be taken for a shadow or a highlight, and surely is one."""
    broad: float = 0.03
    """Deviation in UV of the low-pass that tells broad colours from detail."""
