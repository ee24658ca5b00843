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
class TrackFitSettings:
    """How a known head is fitted to each frame."""

    pose_steps: int = 3
    """Gauss-Newton steps from the pose of the frame before; thrice as many at the first."""
    sweeps: int = 60
    """Most sweeps of the coordinate descent."""
    pose_depth_noise: float = 3.3
    """How much larger a landmark's error is along the line of sight than across. Heads drawn at yaws of 30 degrees are
    found there with it, at 28 without their depth."""
    robust_mm: float = 3.0
    """Residual at which a landmark's weight for the pose has fallen to a half."""
    deviation: float = 0.4
    """Prior deviation of an expression from zero."""
    sparsity: float = 2.0
    """Cost of an expression itself: few say what the face shows."""
    hold: float = 2.0
    """How strongly an expression holds on to that of the frame before, at most."""
    hold_s: float = 1 / 30
    """Time between two frames up to which it does; beyond, in inverse proportion."""


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


@dataclass(frozen=True)
class RgbFitSettings:
    """How texture, shape, expression, pose and light are found together; losses and rates are FFHQ-UV's."""

    steps: int = 200
    """Steps of Adam."""
    rate: float = 0.01
    """Of identity and expression; the others' are factors of it."""
    slow: float = 0.05
    """Factor for pose and light."""
    texture_rate: float = 1.0
    """Factor for the linear decoder's coefficients, which are in standard deviations."""
    falling: float = 0.4
    """Last part of the steps over which the rates fall to zero, by half a cosine."""
    resolution: int = 320
    """Side in pixels of the face's square up to which the photo keeps its own resolution."""
    identity: float = 0.2
    """Weight of 1 - cosine of the face recogniser."""
    identity_every: int = 4
    """Steps between two looks of the recogniser, which costs as much as the rest; it weighs more in them."""
    colour: float = 1.6
    """Weight of the absolute difference, summed over RGB."""
    landmarks: float = 2e-3
    """Weight of the squared distance of 68 landmarks, in pixels of 224."""
    heavy_landmarks: float = 20.0
    """How much more the bridge of the nose and the inner lips weigh."""
    shape: float = 2e-4
    """Weight of the squared identity coefficients."""
    expression: float = 1.6e-3
    """Weight of the squared expression coefficients, in standard deviations."""
    texture: float = 2e-4
    """Weight of the decoder's own measure."""
    grey_light: float = 10.0
    """Weight of the light's colour."""
    expression_deviation: float = 0.35
    """As ``MorphableFitSettings.expression_deviation``."""
    least_light: float = 0.05
    """Light below which nothing falls."""
