"""A completed texture's layers without the photo's light, and what NAME.json says of the light."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from ostec.core.types import CompletedTexture, Completion, FloatArray, ObservedFace, Topology
from ostec.light.estimate import AlbedoModel
from ostec.light.materials import material_maps
from ostec.light.remove import remove_light
from ostec.light.settings import LightSettings
from ostec.light.tone import ita_deg, skin_colour, toned
from ostec.light.transfer import light_transfer
from ostec.mask.skin import mask_guide
from ostec.render.harmonics import light_harmonics
from ostec.render.unwrap import enlarge_inside, resize_map
from ostec.render.uv import UvLayout

SOFT = 0.008
"""Deviation in UV over which what is believed of the photo goes over into what was filled."""
AMBIGUOUS = (
    "One photo cannot tell a bright lamp from bright skin: the albedo keeps the photo's mean tone, and --skin-tone "
    "sets another."
)


@dataclass(frozen=True)
class LitLayers:
    """A texture with its layers, and the light that was taken out."""

    texture: CompletedTexture
    light: dict[str, Any]
    """For the record."""


@dataclass(frozen=True)
class MaterialMaker:
    """Takes the light out of completed textures of one topology."""

    topology: Topology
    layout: Callable[[int], UvLayout]
    """Gives the chart baked at a number of texels."""
    model: AlbedoModel
    settings: LightSettings
    skin_tone: str = "keep"

    def __call__(self, observed: ObservedFace, completion: Completion) -> LitLayers:
        """The layers albedo, normal, occlusion, roughness and specular beside the colour."""
        texture, vertices = completion.texture, observed.face.vertices
        layout, small = self.layout(len(texture.colour)), self.layout(self.model.size)
        transfer = light_transfer(vertices, self.topology.triangles)
        believed = ndimage.gaussian_filter(completion.believed.astype(np.float32), SOFT * layout.size)
        made = remove_light(
            texture.colour, believed, observed.coarse, (small, layout), transfer, self.model, self.settings
        )
        core = mask_guide(self.topology, small.inside.numpy()).core.astype(np.float32)
        skin = (resize_map(core, layout.size) > 0.5) & completion.believed
        skin = skin if skin.any() else layout.inside.numpy()
        albedo = made.albedo
        if self.skin_tone != "keep":
            albedo = toned(albedo, skin, float(self.skin_tone))
        shine = enlarge_inside(made.shine[..., None], self.model.inside, layout.size)[..., 0]
        maps = material_maps(albedo, vertices, transfer.open, shine, layout, self.topology)
        layers: dict[str, FloatArray] = {
            "albedo": albedo,
            "normal": maps.normal,
            "occlusion": maps.occlusion,
            "roughness": maps.roughness,
            "specular": maps.specular,
        }
        lamps = made.light.lamps
        about = {
            "harmonics": np.round(light_harmonics(transfer.directions, lamps[:-1], lamps[-1]), 4).tolist(),
            "unevenness": round(made.unevenness, 4),
            "strength": round(made.strength, 4),
            "ita_deg": round(ita_deg(skin_colour(albedo, skin)), 1),
            "skin_tone": self.skin_tone,
            "note": AMBIGUOUS,
        }
        return LitLayers(replace(texture, layers={**texture.layers, **layers}), about)
