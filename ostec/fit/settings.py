"""How a head model is fitted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MorphableFitSettings:
    """How coefficients and residual are found."""

    iterations: int = 10
    """Rounds of similarity, coefficients and weights; the head moves by less than 0.1 mm after eight."""
    noise_mm: float = 4.0
    """Deviation of a landmark from the model. Neighbouring landmarks err together, so it is larger than a single one's
    error."""
    depth_noise: float = 2.0
    """How much larger the deviation is along z, which landmark networks guess."""
    robust_mm: float = 8.0
    """Residual at which a landmark's weight has fallen to a half."""
    expression_deviation: float = 0.35
    """Prior deviation of an expression's coefficient from zero, as a fraction of the upper end of its range."""
    expression_sparsity: float = 1.0
    """Cost of a blend shape's coefficient itself, besides its square: few expressions say what the face shows."""
    residual_reach_mm: float = 25.0
    """Length over which the residual fades out beyond the landmarks."""
    residual_follow: float = 300.0
    """How strongly the skin follows a landmark, in units of the smoothness at the reach. A tenth of it leaves 0.8 mm
    at the landmarks, this 0.6."""
    residual_limit_mm: float = 10.0
    """Longest displacement that a landmark may ask for."""


@dataclass(frozen=True)
class DenseFitSettings:
    """How the rigid pose is found."""

    iterations: int = 12
    """Rounds of reweighting; the pose moves by less than 0.01 degrees after eight."""
    robust_scale: float = 0.03
    """Residual at which a landmark's weight has fallen to a half, as a fraction of the outer-eye distance."""


@dataclass(frozen=True)
class JointFitSettings:
    """How one head is found for several pictures."""

    iterations: int = 12
    """Rounds of pose, expression and identity."""
    depth_share: float = 0.25
    """How far a landmark's own depth counts beside that of the shared head: its deviation is twice that across."""
    noise_mm: float = 4.0
    """As ``MorphableFitSettings.noise_mm``."""
    robust_mm: float = 6.0
    """Distance across the view at which a landmark's weight has fallen to a half."""
    expression_deviation: float = 0.35
    """As ``MorphableFitSettings.expression_deviation``."""
    expression_sparsity: float = 1.0
    """As ``MorphableFitSettings.expression_sparsity``."""
    displacement_prior: float = 0.3
    """Weight, in pictures that see a landmark, of the model's own place for it."""
