"""What travels to the workers instead of the networks; a driver that only hands out photos need not import those."""

from dataclasses import dataclass

from ostec.core.assets import use_models_folder
from ostec.dataset.records import Maker
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class LoadFaceMaker:
    """Loads the pipeline in a worker's process."""

    settings: CompleteSettings
    device: str
    threads: int
    """CPU threads of one worker; the last digits of results depend on it."""
    models_folder: str = ""
    """The user's folder of models (``$OSTEC_MODELS``) where the build was started; empty if there was none."""

    def __call__(self) -> Maker:
        """Load. Raises AssetError, BackendError."""
        import torch

        from ostec.dataset.faces import FaceMaker
        from ostec.pipeline import Completer

        if self.models_folder:
            use_models_folder(self.models_folder)
        torch.set_num_threads(self.threads)
        return FaceMaker(Completer.from_pretrained(self.settings, self.device))
