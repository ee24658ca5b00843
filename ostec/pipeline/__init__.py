"""The order of the stages for one photo; loads what they need. The only package that names two stages."""

from ostec.pipeline.completer import Completer
from ostec.pipeline.inversion import InvertedFace, Inverter
from ostec.pipeline.models import Models, load_models, load_prior
from ostec.pipeline.result import CompletedFace

__all__ = ["CompletedFace", "Completer", "InvertedFace", "Inverter", "Models", "load_models", "load_prior"]
