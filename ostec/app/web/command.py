"""``ostec app``."""

import importlib.util
import ipaddress
import os
from dataclasses import dataclass
from typing import Annotated

from ostec.app.options import Quiet, Verbose, option
from ostec.core.errors import BackendError, UsageError
from ostec.core.settings import Device

PASSWORD_VARIABLE = "OSTEC_APP_PASSWORD"
"""Environment variable that holds the password: an option would stand in the list of processes."""
_MIN_PASSWORD = 8


@dataclass(frozen=True)
class App:
    """Open the page for photos, folders, videos, datasets and models in the browser, on this machine alone.

    Nothing leaves the machine. Photos and results lie in a temporary folder, which goes when the page is closed or the
    command ends: download what you want to keep.
    """

    host: Annotated[str, option(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen at. Any other than this machine's own needs a password in $OSTEC_APP_PASSWORD."""
    port: int = 7860
    """Port to listen at; 0 takes a free one."""
    browser: bool = True
    """Open the page in the browser."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where it works, else the CPU."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.console import begin

        begin(self.quiet, self.verbose)
        password = os.environ.get(PASSWORD_VARIABLE, "")
        if not 0 <= self.port < 65536:
            raise UsageError(f"--port must be 0 to 65535, got {self.port}.")
        local = is_own(self.host)
        if not local and len(password) < _MIN_PASSWORD:
            raise UsageError(
                f"--host {self.host} lets other machines in, so ${PASSWORD_VARIABLE} must hold a password of at least "
                f"{_MIN_PASSWORD} characters."
            )
        if importlib.util.find_spec("gradio") is None:
            raise BackendError("ostec app needs Gradio: pip install 'ostec[app]'.")
        from ostec.app.web.server import Address, serve

        return serve(Address(self.host, self.port, local), password, self.device, self.browser, self.quiet)


def is_own(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
