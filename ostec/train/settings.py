"""How the generator is trained. Nothing heavy is imported here, so that ``--help`` is quick."""

from dataclasses import dataclass

MAPS = "maps"
"""What the card of a generator of UV maps says under ``draws``."""
DISCRIMINATOR_GROUP = 4
"""Patches whose deviation the discriminator sees."""


@dataclass(frozen=True)
class GeneratorTrainSettings:
    """How the generator is trained; the defaults suit two CPU cores and an afternoon, not a GPU."""

    resolution: int = 128
    """Side of the generator's pictures, a power of two."""
    latent: int = 256
    """Dimension of W; Z holds the prior's coefficients and the pose."""
    mapping_layers: int = 2
    """Layers of the mapping."""
    mapping_rate: float = 50.0
    """Learning rate of the mapping over that of the rest: its layers learn a hundred times slower otherwise."""
    channel_base: int = 2048
    """Channels of a layer times its side; 2048 is about 0.3 GFLOP (multiply-adds) a picture at 128 px."""
    channel_max: int = 192
    """The most channels of a layer."""
    batch: int = 8
    """Pictures a step."""
    learning_rate: float = 1e-2
    """Of Adam, at the start. High for equalised layers; 2e-3, which suits adversarial training alone, learns four times
    slower."""
    discriminator_rate: float = 0.3
    """The discriminator's learning rate over that of the rest."""
    final_rate: float = 0.1
    """Share of the learning rate that is left in the end."""
    grow: tuple[int, ...] = (3_000, 10_000)
    """Pictures after which the resolution doubles, up to the full one: the low layers learn cheaply first."""
    images: int = 53_000
    """Pictures to train on in all."""
    adversarial_from: int = 1_000_000
    """Pictures after which the discriminator joins; images or more: never. On two cores it learns too slowly to
    change anything within 14,000 pictures; on a GPU that takes minutes."""
    patch: int = 32
    """Side of what the discriminator sees of a picture: its detail. The full resolution suits a GPU."""
    patches: int = 2
    """Patches a picture."""
    adversarial: float = 0.15
    """Weight of the discriminator's verdict."""
    r1: float = 0.02
    """Gamma of the gradient penalty (Mescheder et al. 2018); small because patches are."""
    r1_every: int = 8
    """Steps between two gradient penalties (lazy regularisation, StyleGAN2)."""
    unseen: float = 0.05
    """Weight of pixels that only the prior drew: keeps them sane, teaches nothing."""
    gradient: float = 1.0
    """Weight of differences between neighbouring pixels."""
    code: float = 0.5
    """Weight of the squared distance of the encoder's z from the prior's coefficients and the pose."""
    offset: float = 0.002
    """Weight of the squared offsets that make W+ of W."""
    w_only: float = 0.4
    """Share of pictures drawn from W alone, so that sampled latents give faces."""
    whole: float = 0.3
    """Share of pictures that the encoder sees whole."""
    ema: float = 0.998
    """Decay of the weights' running mean, which is what is kept."""
    poses: int = 192
    """Poses of the bank."""
    photos: int = 2
    """Imagined photos of each portrait."""
    seed: int = 0
    """Of everything that is drawn."""

    def __post_init__(self) -> None:
        for name in ("latent", "channel_base", "channel_max", "batch", "images", "patches", "poses", "photos"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        for name, side in (("resolution", self.resolution), ("patch", self.patch)):
            if side < 8 or side & (side - 1):
                raise ValueError(f"{name} must be a power of two from 8, got {side}.")
        if self.resolution < 16 or self.resolution >> len(self.grow) < 8:
            raise ValueError(f"resolution {self.resolution} is too small to be doubled {len(self.grow)} times.")
        if self.adversarial_from < self.images:
            self._check_patches()

    def _check_patches(self) -> None:
        level = level_at(self.adversarial_from, self)
        if self.patch > level:
            raise ValueError(f"patch must be at most {level}, the side of the pictures when the discriminator joins.")
        # A picture that is no larger than a patch is one.
        counts = [self.batch] if self.patch == level else []
        counts += [self.batch * self.patches] if self.patch < self.resolution else []
        for count in counts:
            if count % min(count, DISCRIMINATOR_GROUP):
                raise ValueError(f"batch must give a multiple of {DISCRIMINATOR_GROUP} patches, not {count}.")


def level_at(images: int, settings: GeneratorTrainSettings) -> int:
    """Side of the pictures that are drawn after ``images`` pictures."""
    waiting = sum(images < mark for mark in settings.grow)
    return settings.resolution >> waiting


@dataclass(frozen=True)
class DiffusionTrainSettings:
    """How the diffusion model is trained; the defaults suit one CPU core and two hours."""

    channels: tuple[int, ...] = (32, 64, 128, 160)
    """Of the network's levels, from 64 x 64 pixels on."""
    embedding: int = 128
    """Dimension of the time's embedding."""
    batch: int = 8
    """Textures a step."""
    images: int = 40_000
    """Textures to train on in all."""
    learning_rate: float = 1e-3
    """Of Adam, at the start."""
    final_rate: float = 0.02
    """Share of the learning rate that is left in the end."""
    warm_up: int = 200
    """Steps over which the learning rate rises."""
    ema: float = 0.998
    """Decay of the weights' running mean, which is what is kept."""
    at_start: float = 0.1
    """Share of textures at t = 0, of which the network draws the mean."""
    shown: float = 0.1
    """Weight of a texel that the imagined picture shows."""
    gain: float = 0.15
    """Deviation of the logarithm of the brightness, which is drawn anew each time."""
    tint: float = 0.03
    """The same of each channel."""
    photos: int = 4
    """Imagined pictures of each portrait."""
    seed: int = 0
    """Of everything that is drawn."""

    def __post_init__(self) -> None:
        for name in ("embedding", "batch", "images", "warm_up", "photos"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if len(self.channels) < 2 or any(width < 8 or width % 8 for width in self.channels):
            raise ValueError(f"channels must be two or more multiples of 8, got {self.channels}.")
