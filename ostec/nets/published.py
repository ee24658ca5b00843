"""Published StyleGAN2 networks: their tensors' names and layouts -> those of :mod:`ostec.nets.stylegan2`.

Ours are the names of NVlabs/stylegan2-ada-pytorch. TensorFlow's are those of NVlabs/stylegan2 (kernels height, width,
input, output; dense layers input, output; the modulation's bias less 1; the upsampling kernels turned by 180 degrees),
the others those of rosinality/stylegan2-pytorch. What tensors alone do not tell (activation, learning rate multipliers)
is for the reader of the file to check.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ostec.core.errors import WeightsError
from ostec.core.tensors import require_same_shapes
from ostec.nets.checkpoint import fill_network, mapped_samples, without_memory
from ostec.nets.ops import lowpass_filter
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape

Tensors = Mapping[str, torch.Tensor]
MAX_RESOLUTION = 2048
_MAX_LAYERS = 32


@dataclass(frozen=True)
class _Rule:
    """How tensors whose whole name matches are called here, and what is done to them."""

    pattern: str
    name: str | Callable[[re.Match[str]], str]
    change: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor


def _to_oihw(kernel: torch.Tensor) -> torch.Tensor:
    return kernel.permute(3, 2, 0, 1)


def _turned(kernel: torch.Tensor) -> torch.Tensor:
    return _to_oihw(kernel.flip(0, 1))


def _transposed(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.permute(1, 0)


def _first(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[0]


def _noise_layer(index: int) -> str:
    """The layer of the ``index``-th noise: one at 4 px, two at each further resolution."""
    return f"synthesis.b{4 << (index + 1) // 2}.conv{(index + 1) % 2}"


_TF_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
_TF = r"(?:G_)?synthesis/(\d{1,4})x\1/"
_TENSORFLOW = (
    _Rule(r"dlatent_avg", "mapping.w_avg"),
    _Rule(r"(?:G_)?mapping/Dense(\d{1,2})/weight", lambda m: f"mapping.fc{m[1]}.weight", _transposed),
    _Rule(r"(?:G_)?mapping/Dense(\d{1,2})/bias", lambda m: f"mapping.fc{m[1]}.bias"),
    _Rule(r"(?:G_)?synthesis/4x4/Const/const", "synthesis.b4.const", _first),
    _Rule(
        r"(?:G_)?synthesis/noise(\d{1,2})",
        lambda m: f"{_noise_layer(int(m[1]))}.noise_const",
        lambda noise: noise[0, 0],
    ),
    _Rule(_TF + r"Conv0_up/weight", lambda m: f"synthesis.b{m[1]}.conv0.weight", _turned),
    _Rule(_TF + r"(Conv|Conv1|ToRGB)/weight", lambda m: f"synthesis.b{m[1]}.{_TF_LAYERS[m[2]]}.weight", _to_oihw),
    _Rule(
        _TF + r"(Conv|Conv0_up|Conv1|ToRGB)/(bias|noise_strength)",
        lambda m: f"synthesis.b{m[1]}.{_TF_LAYERS[m[2]]}.{m[3]}",
    ),
    _Rule(
        _TF + r"(Conv|Conv0_up|Conv1|ToRGB)/mod_weight",
        lambda m: f"synthesis.b{m[1]}.{_TF_LAYERS[m[2]]}.affine.weight",
        _transposed,
    ),
    _Rule(
        _TF + r"(Conv|Conv0_up|Conv1|ToRGB)/mod_bias",
        lambda m: f"synthesis.b{m[1]}.{_TF_LAYERS[m[2]]}.affine.bias",
        lambda bias: bias + 1,
    ),
)
_TF_D_LAYERS = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv"}
_TENSORFLOW_D = (
    _Rule(
        r"(\d{1,4})x\1/(FromRGB|Conv0|Conv1_down|Skip|Conv)/weight",
        lambda m: f"b{m[1]}.{_TF_D_LAYERS[m[2]]}.weight",
        _to_oihw,
    ),
    _Rule(r"(\d{1,4})x\1/(FromRGB|Conv0|Conv1_down|Conv)/bias", lambda m: f"b{m[1]}.{_TF_D_LAYERS[m[2]]}.bias"),
    _Rule(r"4x4/Dense0/weight", "b4.fc.weight", _transposed),
    _Rule(r"4x4/Dense0/bias", "b4.fc.bias"),
    _Rule(r"Output/weight", "b4.out.weight", _transposed),
    _Rule(r"Output/bias", "b4.out.bias"),
)


def _styled(text: str) -> str:
    """The block and layer of conv1, convs.N, to_rgb1, to_rgbs.N in rosinality's network."""
    kind, _, number = text.partition(".")
    if kind in ("conv1", "to_rgb1"):
        return "synthesis.b4." + ("conv1" if kind == "conv1" else "torgb")
    if kind == "convs":
        return f"synthesis.b{8 << int(number) // 2}.conv{int(number) % 2}"
    return f"synthesis.b{8 << int(number)}.torgb"


_R_LAYER = r"(conv1|convs\.\d{1,2}|to_rgb1|to_rgbs\.\d{1,2})\."
_ROSINALITY = (
    _Rule(r"style\.(\d{1,2})\.(weight|bias)", lambda m: f"mapping.fc{int(m[1]) - 1}.{m[2]}"),
    _Rule(r"input\.input", "synthesis.b4.const", _first),
    _Rule(_R_LAYER + r"conv\.weight", lambda m: f"{_styled(m[1])}.weight", _first),
    _Rule(_R_LAYER + r"conv\.modulation\.(weight|bias)", lambda m: f"{_styled(m[1])}.affine.{m[2]}"),
    _Rule(_R_LAYER + r"noise\.weight", lambda m: f"{_styled(m[1])}.noise_strength", lambda x: x.reshape(())),
    _Rule(_R_LAYER + r"activate\.bias", lambda m: f"{_styled(m[1])}.bias"),
    _Rule(_R_LAYER + r"bias", lambda m: f"{_styled(m[1])}.bias", lambda bias: bias[0, :, 0, 0]),
    _Rule(r"noises\.noise_(\d{1,2})", lambda m: f"{_noise_layer(int(m[1]))}.noise_const", lambda noise: noise[0, 0]),
)
_R_D_LAYERS = {"conv1.0.weight": "conv0.weight", "conv1.1.bias": "conv0.bias", "conv2.1.weight": "conv1.weight"}
_R_D_LAYERS |= {"conv2.2.bias": "conv1.bias", "skip.1.weight": "skip.weight"}
_R_D_HEADS = {"conv.0.weight": "conv.weight", "conv.1.bias": "conv.bias", "linear.0.weight": "fc.weight"}
_R_D_HEADS |= {"linear.0.bias": "fc.bias", "linear.1.weight": "out.weight", "linear.1.bias": "out.bias"}
_UNUSED = r"(?:.*/)?lod"
"""Left from progressive growing, which StyleGAN2 does without."""
_FILTERS = r"(?:.*\.)?(?:resample_filter|kernel)"


def generator_from_tensorflow(variables: Tensors, source: str) -> dict[str, torch.Tensor]:
    """Tensors of a generator of NVlabs/stylegan2, whose names have their components' before them, under our names.

    Raises WeightsError if there is a tensor that such a generator does not have.
    """
    return _renamed(variables, _TENSORFLOW, _UNUSED, source)


def discriminator_from_tensorflow(variables: Tensors, source: str) -> dict[str, torch.Tensor]:
    """The same of a discriminator."""
    return _renamed(variables, _TENSORFLOW_D, _UNUSED, source)


def generator_from_rosinality(state: Tensors, source: str) -> dict[str, torch.Tensor]:
    """Tensors of a generator of rosinality/stylegan2-pytorch, under our names; without ``mapping.w_avg``.

    Raises WeightsError if there is a tensor that such a generator does not have, or a filter is another.
    """
    return _renamed(without_filters(state, source), _ROSINALITY, r"", source)


def discriminator_from_rosinality(state: Tensors, source: str) -> dict[str, torch.Tensor]:
    """The same of a discriminator."""
    blocks = [int(m[1]) for name in state if (m := re.fullmatch(r"convs\.(\d{1,2})\..*", name))]
    top = 4 << max(blocks, default=1)

    def block(match: re.Match[str]) -> str:
        return f"b{top >> (int(match[1]) - 1)}.{_R_D_LAYERS[match[2]]}"

    rules = (
        _Rule(r"convs\.0\.0\.weight", f"b{top}.fromrgb.weight"),
        _Rule(r"convs\.0\.1\.bias", f"b{top}.fromrgb.bias"),
        _Rule(rf"convs\.([1-9]\d?)\.({'|'.join(map(re.escape, _R_D_LAYERS))})", block),
        _Rule(rf"final_({'|'.join(map(re.escape, _R_D_HEADS))})", lambda m: f"b4.{_R_D_HEADS[m[1]]}"),
    )
    return _renamed(without_filters(state, source), rules, r"", source)


def silent_noise(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Zeros for the constant noise of every layer of a generator, under our names, that lacks them all."""
    found = {}
    for name in tensors:
        if match := re.fullmatch(r"synthesis\.b(\d{1,4})\.conv[01]\.weight", name):
            side = min(int(match[1]), MAX_RESOLUTION)
            found[name.removesuffix("weight") + "noise_const"] = torch.zeros(1).expand(side, side)
    return found


def without_filters(tensors: Tensors, source: str) -> dict[str, torch.Tensor]:
    """The tensors but for the resampling filters, which are checked to be those of the published networks.

    Raises WeightsError if a filter is another.
    """
    kept = {}
    for name, tensor in tensors.items():
        if not re.fullmatch(_FILTERS, name):
            kept[name] = tensor
            continue
        values = tensor.float()
        same = values.shape == (4, 4) and torch.allclose(values / values.sum(), lowpass_filter(), atol=1e-6)
        if not same:
            raise WeightsError(f"{source} cannot be used: expected filters [1, 3, 3, 1], found another in {name}.")
    return kept


def build_generator(tensors: Tensors, source: str, conv_clamp: float | None = None) -> Generator:
    """The network that the tensors' names and shapes describe, in evaluation mode, on the CPU.

    Args:
        tensors: all of it under our names, but for the filters and perhaps ``mapping.w_avg``, which is then the mean
            of 10,000 mapped z.
        conv_clamp: as :class:`Generator` takes it.

    Raises:
        WeightsError: they describe no such network, one is missing, superfluous, of another shape, or holds something
            that is no number; nothing has been allocated then.
    """
    classes = [name for name in tensors if name.startswith("mapping.embed.")]
    if classes:
        raise WeightsError(f"{source} cannot be used: expected a generator of one class, found {classes[0]}.")
    shape = generator_shape(tensors, source)
    network = without_memory(lambda: Generator(shape, conv_clamp), source)
    complete = {"mapping.w_avg": torch.zeros(shape.w_dim), **tensors}
    expected = {name: tensor for name, tensor in network.state_dict().items() if not re.fullmatch(_FILTERS, name)}
    require_same_shapes(expected, complete, f"{source} does not fit a StyleGAN2 of {shape.resolution} px")
    fill_network(network, complete, source)
    if "mapping.w_avg" not in tensors:
        network.mapping.w_avg.copy_(mapped_samples(network).mean(0))
    return network


def build_discriminator(
    tensors: Tensors, source: str, group: int | None = 4, conv_clamp: float | None = None
) -> Discriminator:
    """The same for a discriminator of pictures.

    Args:
        tensors: all of it under our names, but for the filters.
        group: pictures whose deviation is taken together; None: the whole batch.
        conv_clamp: as :class:`Discriminator` takes it.
    """
    widths = {
        int(m[1]): len(tensor)
        for name, tensor in tensors.items()
        if (m := re.fullmatch(r"b(\d{1,4})\.conv0\.weight", name))
    }
    last = tensors.get("b4.conv.weight")
    if last is not None and last.ndim == 4:
        widths[4] = len(last)
    shape = _shape(widths, source)
    network = without_memory(lambda: Discriminator(shape, group=group or 1 << 20, conv_clamp=conv_clamp), source)
    expected = {name: tensor for name, tensor in network.state_dict().items() if not re.fullmatch(_FILTERS, name)}
    require_same_shapes(expected, tensors, f"{source} does not fit a discriminator of {shape.resolution} px")
    fill_network(network, tensors, source)
    return network


def generator_shape(tensors: Tensors, source: str) -> GeneratorShape:
    """What the tensors, under our names, are a generator of.

    Raises:
        WeightsError: of none.
    """
    pattern = r"synthesis\.b(\d{1,4})\.conv1\.weight"
    widths = {
        int(m[1]): len(tensor) for name, tensor in tensors.items() if tensor.ndim and (m := re.fullmatch(pattern, name))
    }
    layers = len([name for name in tensors if re.fullmatch(r"mapping\.fc\d{1,2}\.bias", name)])
    first, affine = tensors.get("mapping.fc0.weight"), tensors.get("synthesis.b4.conv1.affine.weight")
    if first is None or affine is None or first.ndim != 2 or affine.ndim != 2 or not 0 < layers <= _MAX_LAYERS:
        raise WeightsError(
            f"{source} cannot be used: expected a StyleGAN2 with mapping.fc0 and synthesis.b4, "
            f"found {', '.join(sorted(tensors)[:4]) or 'no tensors'}."
        )
    return _shape(widths, source, first.shape[1], affine.shape[1], layers)


def _shape(widths: dict[int, int], source: str, z_dim: int = 512, w_dim: int = 512, layers: int = 8) -> GeneratorShape:
    """The two numbers behind the widths of the layers, by resolution."""
    side = max(widths, default=0)
    if side not in (8 << k for k in range(9)) or side > MAX_RESOLUTION or 4 not in widths:
        raise WeightsError(
            f"{source} cannot be used: expected a StyleGAN2 of 8 to {MAX_RESOLUTION} px, found layers of "
            f"{', '.join(map(str, sorted(widths)[:12])) or 'no'} px."
        )
    base = side * widths[side]  # if the finest is at the limit, so are all
    shape = GeneratorShape(side, z_dim, w_dim, layers, base, widths[4])
    if any(shape.channels(level) != widths.get(level) for level in shape.resolutions):
        found = ", ".join(f"{widths[level]} at {level}" for level in sorted(widths))
        raise WeightsError(f"{source} cannot be used: expected widths that halve beyond a limit, found {found}.")
    return shape


def _renamed(tensors: Tensors, rules: tuple[_Rule, ...], ignored: str, source: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        rule, match = next(
            ((rule, match) for rule in rules if (match := re.fullmatch(rule.pattern, name))), (None, None)
        )
        if rule is None or match is None:
            if re.fullmatch(ignored, name):
                continue
            raise WeightsError(f"{source} cannot be used: expected the tensors of a StyleGAN2, found {name[:80]}.")
        try:
            found[rule.name if isinstance(rule.name, str) else rule.name(match)] = rule.change(tensor)
        except (IndexError, RuntimeError) as error:
            shape = tuple(tensor.shape)
            raise WeightsError(f"{source} cannot be used: {name} has the unexpected shape {shape}.") from error
    return found
