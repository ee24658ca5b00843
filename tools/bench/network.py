"""What is projected into, and what is projected: a random network of a given shape, and pictures that it can draw."""

import hashlib

import numpy as np
import torch

from ostec.nets.checkpoint import mapped_samples
from ostec.nets.stylegan2 import Generator, GeneratorShape, SynthesisLayer, ToRgb

_NOISE = (0.01, 0.05)
"""Range of the noise strengths: enough for grain, as in networks trained on faces, and too little to move shapes."""
_BIAS = 0.1
"""Deviation of the biases, which a plain random start does not have."""
_CONTRAST = 0.5
"""Deviation of the pixels of all pictures in [-1, 1], as photos of faces have it."""
_SAMPLES = 8
_SAMPLES_SIDE = 256
"""Pixels: contrast is measured on the level of the pyramid that is judged."""


@torch.no_grad()
def random_network(shape: GeneratorShape, seed: int = 0) -> Generator:
    """A network that is the same for the same seed, on the CPU, in evaluation mode and without gradients.

    Its weights are those of a network before training. What training would make of the rest is set: noise and biases
    of the usual size, the mean W of its own mapping, colours scaled to pictures with a photo's contrast.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Generator(shape).eval().requires_grad_(False)
        for layer in network.synthesis.modules():
            if isinstance(layer, SynthesisLayer):
                layer.noise_strength.uniform_(*_NOISE)
                layer.bias.normal_(0, _BIAS)
        z = torch.randn(_SAMPLES, shape.z_dim)
    network.mapping.w_avg.copy_(mapped_samples(network).mean(0))
    ws = network.mapping(z)
    pictures = network.synthesis(ws, resolution=min(shape.resolution, _SAMPLES_SIDE))
    colours = [layer for layer in network.synthesis.modules() if isinstance(layer, ToRgb)]
    gain = _CONTRAST / float(pictures.std((0, 2, 3)).mean())
    for layer in colours:
        layer.weight.mul_(gain)
    colours[0].bias.copy_(-gain * pictures.mean((0, 2, 3)))
    return network


@torch.no_grad()
def draw_target(network: Generator, count: int, seed: int) -> torch.Tensor:
    """Pictures [B, 3, R, R] of the network itself, each of a w of its mapping.

    Their noise is their own, as it is in photos: neither side has it.
    """
    device = network.mapping.w_avg.device
    z = np.random.RandomState(seed).randn(count, network.shape.z_dim).astype(np.float32)
    pictures = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for row in torch.from_numpy(z).to(device).split(1):
            pictures.append(network(row, noise="random").contiguous())
    return torch.cat(pictures)


def digest(network: Generator) -> str:
    """SHA-256 of a network's tensors, by which two runs know that they speak of the same one."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return found.hexdigest()
