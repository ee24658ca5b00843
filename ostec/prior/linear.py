"""The texture prior: a probabilistic linear model of face texture that fills what a photo did not show, in closed form.

Model (Tipping and Bishop, Probabilistic principal component analysis, 1999, with noise per texel):
y_t = mu_t + B_t z + e_t, z ~ N(0, I), e_t ~ N(0, sigma_t^2 I). Given weights w_t in [0, 1] of the texels that were
seen, the most probable z solves (I + sum_t w_t B_t' B_t / s_t) z = sum_t w_t B_t' (y_t - mu_t) / s_t with
s_t = tau sigma_t^2. tau > 1 because neighbouring texels err together, which the model does not know. When it is asked,
overall tone is a factor of its own (:func:`with_tone`).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.ndimage import uniform_filter

from ostec.core.errors import WeightsError
from ostec.core.types import BoolArray, FloatArray
from ostec.prior.border import bare_skin
from ostec.prior.carry import carry_residual
from ostec.prior.settings import PriorSettings

TONE_FACTORS = 4
"""Components of :func:`with_tone` beside the model's own."""
_GROWTHS = 2
"""Rounds in which what is hidden grows."""
_LOW_PASS = 0.0625
"""Deviation in UV of the low-pass that structure is measured against."""
_FOREHEAD = 0.8
"""Height in UV above which what was taken out is hair."""
_FLAT = 0.01
"""Deviation of log light that counts as no structure."""


@dataclass(frozen=True)
class LinearPrior:
    """The fitted model on an S x S layout; T texels inside the chart, K components."""

    inside: BoolArray
    """[S, S]."""
    mean: torch.Tensor
    """[T, 3] in [0, 1]."""
    basis: torch.Tensor
    """[T, 3, K], scaled so that coefficients have unit variance."""
    noise: torch.Tensor
    """[T] variance of a texel given the coefficients."""
    topology_sha256: str
    """Of the topology file that the layout belongs to."""

    @property
    def size(self) -> int:
        """Side S of the layout in texels."""
        return self.inside.shape[0]

    def image(self, texels: torch.Tensor) -> FloatArray:
        """Texels [T, C] as an image [S, S, C], zero outside the chart."""
        out = np.zeros((*self.inside.shape, texels.shape[-1]), np.float32)
        out[self.inside] = texels.cpu().numpy()
        return out


@dataclass(frozen=True)
class PriorFill:
    """What the prior makes of one face."""

    texture: FloatArray
    """[S, S, 3]: the most probable texture plus the carried residual; what fills unseen texels."""
    model: FloatArray
    """[S, S, 3]: the most probable texture alone."""
    explained: FloatArray
    """[S, S] in [0, 1]: how far the model believes the seen texel to be face; 1 where nothing was seen."""
    occluded: BoolArray
    """[S, S]: regions so large and so unlike a face that something must lie in front of it."""
    hair: FloatArray
    """[S, S] in [0, 1]: how far the photo shows something else than bare skin near the chart's border."""
    coefficients: FloatArray
    """[K], without factors for the tone: these are the face's coordinates for who was trained with the prior."""
    trust: FloatArray
    """[S, S] in [0, 1]: how far each texel was believed in the end."""


def fill_from_prior(
    prior: LinearPrior,
    colour: FloatArray,
    weight: FloatArray,
    settings: PriorSettings | None = None,
    features: BoolArray | None = None,
) -> PriorFill:
    """Complete a texture from the texels that were seen.

    Args:
        prior: the model.
        colour: [S, S, 3] in [0, 1]; anything where the weight is zero.
        weight: [S, S] in [0, 1]: trust in each texel (view angle times mask).
        settings: the defaults if None.
        features: [S, S] eyes, brows and lips; where they are the border is held to bare skin
            (:mod:`ostec.prior.border`). None leaves it as the model has it.

    Raises:
        ValueError: shapes differ from the prior's layout.
    """
    settings = settings or PriorSettings()
    if colour.shape != (prior.size, prior.size, 3) or weight.shape != (prior.size, prior.size):
        raise ValueError(f"expected {prior.size} x {prior.size} texels, got {colour.shape} and {weight.shape}")
    device = prior.mean.device
    plain, prior = prior, with_tone(prior, settings.tone)
    seen = torch.from_numpy(colour[prior.inside]).to(device)
    base = torch.from_numpy(weight[prior.inside]).to(device)
    away = torch.from_numpy(hairline_trust(weight, settings)[prior.inside]).to(base)
    explained = torch.ones_like(base)
    for _ in range(settings.reweightings + 1):
        trust = base * away * explained
        explained = _explained(prior, seen - _model(prior, seen, trust, settings), base, settings)
    occluded = find_occluders(prior, explained, base, settings)
    if occluded.any():
        trust = trust * torch.from_numpy(~occluded[prior.inside]).to(trust)
    hidden = find_hidden(prior, seen, base, trust, settings)
    occluded |= hidden
    if hidden.any():
        trust = trust * torch.from_numpy(~hidden[prior.inside]).to(trust)
    z = solve_coefficients(prior, seen, trust, settings.tau)
    model = prior.mean + prior.basis @ z
    explained = torch.where(base > 0, explained, torch.ones_like(base))
    made = _with_bare_border(prior, model, seen, trust, features, settings)
    return PriorFill(
        texture=np.clip(prior.image(torch.from_numpy(made.texture + made.residual)), 0, 1),
        model=np.clip(prior.image(torch.from_numpy(made.texture)), 0, 1),
        explained=prior.image(explained[:, None])[..., 0],
        occluded=occluded,
        hair=prior.image(torch.from_numpy(made.hair)[:, None])[..., 0],
        coefficients=solve_coefficients(plain, seen, trust, settings.tau).cpu().numpy(),
        trust=prior.image(trust[:, None])[..., 0],
    )


def sample_from_prior(
    prior: LinearPrior,
    colour: FloatArray,
    trust: FloatArray,
    noise: FloatArray,
    settings: PriorSettings | None = None,
    features: BoolArray | None = None,
) -> FloatArray:
    """Draw textures that agree with the texels that were seen: z ~ N(m, C) with C the inverse of the normal matrix.

    A texel's own noise is left out, for its neighbours' errs with it, and the model does not say how.

    Args:
        prior: the model.
        colour: [S, S, 3] in [0, 1]; anything where the trust is zero.
        trust: [S, S] of the fill (:attr:`PriorFill.trust`).
        noise: [N, K + 4] standard normal: K components and four factors of the tone.
        settings: the defaults if None.
        features: as in :func:`fill_from_prior`.

    Returns:
        [N, S, S, 3] in [0, 1]: as :attr:`PriorFill.texture`, which has the most probable z.
    """
    settings = settings or PriorSettings()
    prior = with_tone(prior, settings.tone)
    seen, sure = (torch.from_numpy(x[prior.inside]).to(prior.mean) for x in (colour, trust))
    normal, right = _normal_equations(prior, seen, sure, settings.tau)
    factor = torch.linalg.cholesky(normal)
    drawn = torch.linalg.solve_triangular(factor.T, torch.from_numpy(noise).to(normal).T, upper=True)
    z = torch.cholesky_solve(right[:, None], factor) + drawn  # [K, N]
    textures = []
    for one in z.T:
        made = _with_bare_border(prior, prior.mean + prior.basis @ one, seen, sure, features, settings)
        textures.append(np.clip(prior.image(torch.from_numpy(made.texture + made.residual)), 0, 1))
    return np.stack(textures)


@dataclass(frozen=True)
class _Made:
    """The model's texture [T, 3], what of the photo is hair [T], and the carried residual [T, 3]."""

    texture: FloatArray
    hair: FloatArray
    residual: FloatArray


def _with_bare_border(
    prior: LinearPrior,
    model: torch.Tensor,
    seen: torch.Tensor,
    trust: torch.Tensor,
    features: BoolArray | None,
    settings: PriorSettings,
) -> _Made:
    texture, shown, sure = (x.cpu().numpy() for x in (model, seen, trust))
    hair = np.zeros_like(sure)
    if features is not None:
        bare = bare_skin(texture, shown, sure, prior.inside, features, settings.skin)
        texture, hair = bare.texture, bare.hair
    sure = (sure * (1 - hair)) ** settings.carry_power
    reach = settings.carry_uv * prior.size
    return _Made(texture, hair, carry_residual(prior.inside, shown - texture, sure, reach, settings.carry_smooth))


def with_tone(prior: LinearPrior, deviation: float) -> LinearPrior:
    """The prior with four more components: a gain of all channels and one of each.

    The portraits' tones are those of few people and their light; a tone beyond them is carried from what was seen, not
    drawn to their mean.

    Args:
        prior: K components.
        deviation: of the gains; 0 adds components of zero.
    """
    mean = prior.mean[..., None]
    gains = deviation * torch.cat([mean, mean * torch.eye(3, device=mean.device)], dim=-1)  # [T, 3, 4]
    return replace(prior, basis=torch.cat([prior.basis, gains], dim=-1))


def hairline_trust(weight: FloatArray, settings: PriorSettings) -> FloatArray:
    """Factor [S, S] in [0, 1] of the trust [S, S]: small beside what was taken out of the forehead.

    Trust falls slowly towards a silhouette and at once where a mask took hair out: only the second counts.
    """
    size = len(weight)
    v = 1 - (np.arange(size)[:, None] + 0.5) / size
    near = 2 * max(1, round(size * 3 / 128)) + 1
    hair = (weight < 0.1) & (ndimage.maximum_filter(weight, near) > 0.7) & (v > _FOREHEAD)
    if not hair.any():
        return np.ones_like(weight)
    start, full = settings.hairline
    distance = ndimage.distance_transform_edt(~hair) / size
    return np.clip((distance - start) / (full - start), 0, 1).astype(np.float32)


def solve_coefficients(prior: LinearPrior, seen: torch.Tensor, trust: torch.Tensor, tau: float) -> torch.Tensor:
    """Most probable z [K] given seen texels [T, 3] and their weights [T]."""
    return torch.linalg.solve(*_normal_equations(prior, seen, trust, tau))


def _normal_equations(
    prior: LinearPrior, seen: torch.Tensor, trust: torch.Tensor, tau: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse covariance [K, K] of z, and what it makes of the most probable z [K]."""
    precision = trust / (prior.noise * tau)
    flat = prior.basis.reshape(-1, prior.basis.shape[-1])
    weighted = (prior.basis * precision[:, None, None]).reshape(flat.shape)
    normal = flat.T @ weighted + torch.eye(flat.shape[1], device=flat.device)
    return normal, weighted.T @ (seen - prior.mean).reshape(-1)


def _explained(prior: LinearPrior, error: torch.Tensor, base: torch.Tensor, settings: PriorSettings) -> torch.Tensor:
    """Student-t weights [T] of residuals [T, 3] averaged over a neighbourhood: an occluder is larger than a mole."""
    q = (error**2).mean(-1) / prior.noise
    side = max(3, prior.size // 32 | 1)
    total = uniform_filter(prior.image((q * base)[:, None])[..., 0], side)
    count = uniform_filter(prior.image(base[:, None])[..., 0], side)
    mean = torch.from_numpy((total / np.maximum(count, 1e-6))[prior.inside]).to(error.device)
    scale = settings.tau**0.5
    return ((settings.freedom + 1) / (settings.freedom + mean / scale)).clamp(max=1.0)


def find_occluders(
    prior: LinearPrior, explained: torch.Tensor, base: torch.Tensor, settings: PriorSettings
) -> BoolArray:
    """Regions [S, S] that the model cannot explain and that are larger than a mole, a scar or a shadow's edge.

    A microphone or a dark sleeve is found so; a hand, which is skin as well, by :func:`find_hidden`.

    Args:
        prior: gives the chart.
        explained: [T] weights of the robust solution.
        base: [T] trust before it; unseen texels are never occluded.
        settings: threshold and size.
    """
    unlike = prior.image(((explained < settings.occluder_explained) & (base > 0))[:, None].float())[..., 0] > 0
    label, count = ndimage.label(unlike)
    if count == 0:
        return np.zeros(unlike.shape, bool)
    sizes = np.bincount(label.ravel())
    large = np.flatnonzero(sizes >= settings.occluder_share * np.count_nonzero(prior.inside))
    found = np.isin(label, large[large > 0])
    return prior.inside & ndimage.binary_dilation(found, iterations=max(1, round(prior.size * 3 / 128)))


def find_hidden(
    prior: LinearPrior, seen: torch.Tensor, base: torch.Tensor, trust: torch.Tensor, settings: PriorSettings
) -> BoolArray:
    """Regions [S, S] without the face's structure: a hand has the colour of skin, but no lips, nostrils, eyes or brows.

    The structure is what a low-pass leaves of the log light. On a bare face it correlates with the model's, whatever
    its contrast; on a hand it does not, even though the model bends towards it. From where that is plain the region
    grows over what matches badly a model that no longer sees it. What hides no feature, as two fingers flat on a
    cheek, is not found, for bare cheeks have no structure that could be missed.

    Args:
        prior: gives the chart.
        seen: [T, 3] the photo.
        base: [T] trust before any robust weight; unseen texels are never hidden.
        trust: [T] weights of the robust solution.
        settings: thresholds, size and windows.
    """
    weight = prior.image(base[:, None])[..., 0]
    rim = ndimage.distance_transform_edt(np.pad(prior.inside, 1))[1:-1, 1:-1] / prior.size
    match = _structure_match(prior, seen, _model(prior, seen, trust, settings), weight, settings.hidden_window)
    first = (match < settings.hidden_match) & (rim > settings.hidden_rim) & (weight > 0.3)
    label, _ = ndimage.label(first)
    sizes = np.bincount(label.ravel())
    sizes[0] = 0
    first = (sizes >= settings.hidden_share * np.count_nonzero(prior.inside))[label]
    hidden = first
    for _ in range(_GROWTHS if first.any() else 0):
        model = _model(prior, seen, trust * torch.from_numpy(~hidden[prior.inside]).to(trust), settings)
        match = _structure_match(prior, seen, model, weight, settings.hidden_grow_window)
        explained = prior.image(_explained(prior, seen - model, base, settings)[:, None])[..., 0]
        unlike = (match < settings.hidden_grow) | (explained < settings.hidden_explained)
        label, _ = ndimage.label(unlike & (weight > 0.05) | hidden)
        hidden = np.isin(label, np.unique(label[first]))
    if not hidden.any():
        return hidden
    solid = ndimage.binary_fill_holes(_closed(hidden, round(prior.size / 32)))
    # A finger's edge is darker than either side: a sliver of it left over would show.
    return prior.inside & ndimage.binary_dilation(solid, iterations=max(1, round(prior.size * 2 / 128)))


def _model(prior: LinearPrior, seen: torch.Tensor, trust: torch.Tensor, settings: PriorSettings) -> torch.Tensor:
    """Most probable texture [T, 3]."""
    return prior.mean + prior.basis @ solve_coefficients(prior, seen, trust, settings.tau)


def _structure_match(
    prior: LinearPrior, seen: torch.Tensor, model: torch.Tensor, weight: FloatArray, window: float
) -> FloatArray:
    """Local correlation [S, S] of two textures [T, 3] in what a low-pass leaves of their log light; 1 if both are flat.

    Args:
        prior: gives the chart.
        seen: [T, 3].
        model: [T, 3].
        weight: [S, S] of the texels.
        window: deviation in UV of the window.
    """

    def mean(image: FloatArray, sigma: float) -> FloatArray:
        share = ndimage.gaussian_filter(weight, sigma)
        return np.asarray(ndimage.gaussian_filter(image * weight, sigma) / np.maximum(share, 1e-3))

    light = [prior.image((t.clamp(0, 1) + 0.03).log().mean(-1, keepdim=True))[..., 0] for t in (seen, model)]
    a, b = (image - mean(image, _LOW_PASS * prior.size) for image in light)
    flat = _FLAT**2
    ab, aa, bb = (mean(product, window * prior.size) + flat for product in (a * b, a * a, b * b))
    return np.asarray(ab / np.sqrt(aa * bb), np.float32)


def _closed(region: BoolArray, radius: int) -> BoolArray:
    """Binary closing by a disc, gaps between fingers for example; the border of the array is no wall."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    padded = ndimage.binary_closing(np.pad(region, radius + 1), x * x + y * y <= radius * radius)
    return np.asarray(padded[radius + 1 : -radius - 1, radius + 1 : -radius - 1]) | region


def prior_weight(
    cosine: FloatArray, visible: BoolArray, margin_mm: FloatArray, settings: PriorSettings | None = None
) -> FloatArray:
    """Trust [S, S] in what a photo shows, as the prior sees it.

    A grazing view has few pixels and a silhouette may be background: trust rises with the cosine of the view angle and
    with the distance from the mesh's outline. The chart's top edge lies on the forehead and is no silhouette.
    """
    settings = settings or PriorSettings()
    size = len(cosine)
    v = 1 - (np.arange(size)[:, None] + 0.5) / size
    low, high = settings.outline_mm
    outline = np.clip((margin_mm - low) / (high - low), np.where((v > 0.8) & (cosine > 0.5), 0.35, 0.0), 1)
    steep, flat = settings.cosine
    return (visible * np.clip((cosine - steep) / (flat - steep), 0, 1) * outline).astype(np.float32)


def prior_from_tensors(tensors: dict[str, torch.Tensor], topology_sha256: str, device: torch.device) -> LinearPrior:
    """Build the model from a file's tensors: inside [S, S] u8, mean [T, 3], basis [T, 3, K] (half), noise [T].

    Raises:
        WeightsError: a tensor is missing, has another shape or holds what is no number.
    """
    try:
        inside = tensors["inside"].numpy().astype(bool)
        mean, basis, noise = (tensors[k].to(device, torch.float32) for k in ("mean", "basis", "noise"))
    except KeyError as error:
        raise WeightsError(f"The prior's file has no tensor {error}.") from error
    count = int(inside.sum())
    square = inside.ndim == 2 and len(set(inside.shape)) == 1 and basis.ndim == 3
    if not square or mean.shape != (count, 3) or basis.shape[:2] != (count, 3) or noise.shape != (count,):
        raise WeightsError(f"The prior's tensors do not fit its chart of {count} texels.")
    if not all(bool(torch.isfinite(values).all()) for values in (mean, basis, noise)):
        raise WeightsError("The prior's tensors hold something that is no finite number.")
    return LinearPrior(inside, mean, basis, noise, topology_sha256)
