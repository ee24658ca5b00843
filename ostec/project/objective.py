"""What the projection minimises: the terms of one level of the pyramid, and what they compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from ostec.nets.efficientnet import PerceptualNetwork
from ostec.nets.losses import feature_loss, latent_loss, ms_ssim_loss, pixel_loss
from ostec.nets.perceptual import Lpips
from ostec.project.settings import ProjectionSettings


@dataclass(frozen=True)
class LatentSpace:
    """A generator as the projection sees it."""

    synthesise: Callable[[torch.Tensor], torch.Tensor]
    """W+ [B, num_ws, W] to pictures [B, 3, R, R] in [-1, 1]."""
    mean: torch.Tensor
    """[num_ws, W] mean latent."""
    deviation: torch.Tensor
    """[num_ws, W] standard deviation over faces; positive."""
    encode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """Picture [B, 3, R, R] and trust [B, 1, R, R] to a starting W+; without it the mean latent is the start."""
    features: Callable[[torch.Tensor], list[torch.Tensor]] | None = None
    """Picture to features; without it that term is left out."""
    features_name: str = "none"
    """What the record calls what is compared, be it the features or a perceptual network's."""
    perceptual: PerceptualNetwork | None = None
    """Takes the place of the features."""
    pyramid: Callable[[torch.Tensor, int], torch.Tensor] | None = None
    """W+ [B, num_ws, W] and a resolution r, a power of two from 8 below R, to what the generator has drawn there:
    [B, 3, r, r]; without it every iteration draws the whole picture."""
    resolution: int | None = None
    """R, where the pictures to be found are smaller."""


@dataclass(frozen=True)
class ProjectionTarget:
    """B pictures to be found."""

    image: torch.Tensor
    """[B, 3, R, R] in [-1, 1]."""
    trust: torch.Tensor
    """[B, 1, R, R] in [0, 1]: 1 where the picture is known."""
    guessed: torch.Tensor
    """[B, 1, R, R] in [0, 1]: 1 where the picture is a guess that is better than nothing."""


@dataclass(frozen=True)
class Drawn:
    """What the generator made of W+ in one iteration."""

    image: torch.Tensor
    """[B, 3, side, side]: what is compared."""
    whole: torch.Tensor | None
    """[B, 3, R, R], where it was drawn with its gradient."""


class Drawer:
    """Draws at one level of the pyramid; what the finer layers add is looked at now and then.

    The skip architecture sums what all resolutions say, so a coarser level alone is not the smaller picture: a
    network's finer layers may move whole regions. Their share, the difference between the whole picture, made smaller,
    and the level, is taken as constant for a few iterations (the defect correction of multigrid methods; Brandt,
    Multi-level adaptive solutions to boundary-value problems, 1977): what is found agrees with the whole picture, at
    the price of a level.
    """

    def __init__(self, space: LatentSpace, full: int, side: int, refresh: int) -> None:
        """Draw pictures of ``side`` px of a generator of ``full`` px, and whole ones every ``refresh`` iterations."""
        self._space, self.side, self._refresh = space, side, max(1, refresh)
        self._pyramid = space.pyramid if side < full else None
        self._added: torch.Tensor | None = None
        self._age = 0

    @property
    def is_exact(self) -> bool:
        """Whether every picture is drawn whole."""
        return self._pyramid is None

    def __call__(self, ws: torch.Tensor, whole: bool = False) -> Drawn:
        """Draw W+ [B, num_ws, W]; ``whole`` asks for the whole picture too."""
        if self._pyramid is None or whole:
            picture = self._space.synthesise(ws)
            image = smaller(picture, self.side)
            if self._pyramid is not None:
                with torch.no_grad():
                    self._added, self._age = image.detach() - self._pyramid(ws, self.side), 0
            return Drawn(image, picture)
        level = self._pyramid(ws, self.side)
        if self._added is None or self._age >= self._refresh:
            with torch.no_grad():
                self._added, self._age = smaller(self._space.synthesise(ws), self.side) - level, 0
        self._age += 1
        return Drawn(level + self._added, None)


class Objective:
    """The terms at one level, but for those of whole pictures."""

    def __init__(
        self,
        space: LatentSpace,
        target: ProjectionTarget,
        settings: ProjectionSettings,
        side: int,
        origin: torch.Tensor | None,
    ) -> None:
        """Prepare what the pictures are compared with.

        Args:
            space: the generator.
            target: what :func:`without_unknown` gave.
            settings: weights.
            side: of the pictures that are compared.
            origin: [B, num_ws, W] that the latent is drawn to, or None.
        """
        self._space, self._settings, self._origin = space, settings, origin
        self._target = target_at(target, settings, side)
        self._weight = weight_of(self._target, settings)
        with torch.no_grad():
            self._wanted = self._features(self._target.image)

    def terms(self, image: torch.Tensor, ws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Each weighted term of the objective, [B], for pictures [B, 3, side, side] of W+ [B, num_ws, W]."""
        space, settings, target, weight = self._space, self._settings, self._target, self._weight
        terms = {
            "pixel": settings.pixel * pixel_loss(image, target.image, weight),
            "ms_ssim": settings.ms_ssim * ms_ssim_loss(image, target.image, weight),
            "latent": settings.latent * latent_loss(ws, space.mean, space.deviation),
        }
        if self._origin is not None:
            terms["start"] = settings.start * latent_loss(ws, self._origin, space.deviation)
        if self._wanted:
            # What is not trusted is the target's on both sides, so that it says nothing through wide receptive fields.
            found = self._features(target.image + (image - target.image) * weight)
            if space.perceptual is not None:
                distance = space.perceptual.distance(found, self._wanted, target.trust)
                terms["lpips" if isinstance(space.perceptual, Lpips) else "perceptual"] = settings.lpips * distance
            else:
                terms["features"] = settings.features * feature_loss(found, self._wanted, target.trust)
        return terms

    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Per layer what is compared of pictures [B, 3, side, side]; empty if nothing is."""
        space = self._space
        if space.perceptual is not None:
            network = space.perceptual
            return network.features(image) if image.shape[-1] >= network.min_side else []
        return space.features(image) if space.features is not None else []


def smaller(picture: torch.Tensor, side: int) -> torch.Tensor:
    """Means over squares: [B, C, R, R] -> [B, C, side, side]; what is no larger stays as it is."""
    factor = picture.shape[-1] // side
    return functional.avg_pool2d(picture, factor) if factor > 1 else picture


def weight_of(target: ProjectionTarget, settings: ProjectionSettings) -> torch.Tensor:
    """How much each pixel counts, [B, 1, R, R]."""
    return torch.maximum(target.trust, settings.guess * target.guessed)


def target_at(target: ProjectionTarget, settings: ProjectionSettings, side: int) -> ProjectionTarget:
    """The target with smaller pictures: means of the pixels that count."""
    if target.image.shape[-1] <= side:
        return target
    weight = weight_of(target, settings)
    share = smaller(weight, side)
    mean = smaller(target.image * weight, side) / share.clamp(min=1e-6)
    image = torch.where(share > 0, mean, smaller(target.image, side))
    return ProjectionTarget(image, smaller(target.trust, side), smaller(target.guessed, side))


def without_unknown(target: ProjectionTarget, settings: ProjectionSettings) -> ProjectionTarget:
    """The target with the mean colour of what counts where nothing is known.

    MS-SSIM's windows and the receptive fields of encoder and features reach beyond the pixels that count.
    """
    weight = weight_of(target, settings)
    known = torch.where(weight > 0, target.image, 0)
    mean = (known * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
    return replace(target, image=torch.where(weight > 0, target.image, mean))
