"""How a picture is projected."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A coarser level of the pyramid at which the projection begins."""

    divisor: int
    """Of the side at which pictures are compared in the end; a power of two."""
    share: float
    """Of the iterations."""


@dataclass(frozen=True)
class ProjectionSettings:
    """How a picture is projected; the defaults scored best on the ground-truth head."""

    learning_rate: float = 0.01
    """Of Adam, in deviations of the latent, from a start that knows something of the picture."""
    learning_rate_mean: float = 0.1
    """The same from the mean latent, which is far from everybody."""
    warm_up: float = 0.05
    """Share of the iterations in which the learning rate rises."""
    decay: float = 0.3
    """Share of the iterations, at the end, in which it falls to zero on a cosine."""
    pixel: float = 1.0
    """Weight of the pixels' log-cosh."""
    ms_ssim: float = 1.0
    """Weight of 1 - MS-SSIM."""
    features: float = 1.0
    """Weight of the features' distance, where the pictures are too small for a perceptual network."""
    lpips: float = 0.5
    """Weight of LPIPS, or of the perceptual network that stands in for it: to MS-SSIM as in OSTeC (100 to 200)."""
    landmarks: float = 0.1
    """Weight of the landmarks' log-cosh."""
    identity: float = 0.05
    """Weight of the identity's distance: to MS-SSIM as in OSTeC (10 to 200)."""
    identity_frontal: float = 0.5
    """The same for the frontal portrait (OSTeC: 100 to 200)."""
    realism: float = 0.0025
    """Weight of the discriminator's verdict, where there is one of whole pictures: to MS-SSIM as in OSTeC (0.5 to
    200). Not tuned, for none ships."""
    latent: float = 0.02
    """Weight of the squared distance from the mean latent."""
    start: float = 0.2
    """Weight of the squared distance from the starting latent, unless that is the mean."""
    guess: float = 0.1
    """Trust in pixels that the prior guessed."""
    patience: int = 40
    """Iterations without progress after which a picture is left as it is."""
    progress: float = 1e-3
    """Least relative fall of the loss that counts as progress."""
    side: int = 256
    """Largest side in pixels at which pictures are compared, as in the projector of StyleGAN2."""
    levels: tuple[Level, ...] = (Level(4, 0.3), Level(2, 0.3))
    """Coarser levels of the pyramid that come first, where the generator has them."""
    refresh: int = 10
    """Iterations after which, at a coarser level, what the finer layers add is looked at again."""
