"""Tracked frames sent to programs that listen, by UDP."""

import socket
import uuid
from typing import TYPE_CHECKING

from ostec.core.errors import UsageError

if TYPE_CHECKING:
    from ostec.export.track import TrackRow


class LiveLinkSender:
    """Sends frames as the app Live Link Face does."""

    def __init__(self, host: str, port: int, subject: str) -> None:
        """``subject`` is the name that Unreal shows. Raises UsageError: there is no such host."""
        self._socket, self._address, self._subject = *_connection(host, port), subject
        self._device = uuid.uuid5(uuid.NAMESPACE_DNS, f"ostec.{subject}")

    def __call__(self, row: "TrackRow", fps: float) -> None:
        """Send one frame."""
        from ostec.export.track import live_link_packet

        self._socket.sendto(live_link_packet(row, self._subject, self._device, fps), self._address)


class VmcSender:
    """Sends frames by the VMC protocol: a bundle of OSC messages each."""

    def __init__(self, host: str, port: int, subject: str) -> None:  # noqa: ARG002 - the protocol has no names
        """Raises UsageError: there is no such host."""
        self._socket, self._address = _connection(host, port)

    def __call__(self, row: "TrackRow", fps: float) -> None:  # noqa: ARG002 - the protocol has times instead
        """Send one frame."""
        from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
        from pythonosc.osc_message_builder import OscMessageBuilder

        from ostec.export.track import vmc_messages

        bundle = OscBundleBuilder(IMMEDIATELY)
        for address, values in vmc_messages(row):
            message = OscMessageBuilder(address)
            for value in values:
                message.add_arg(value)
            bundle.add_content(message.build())
        self._socket.sendto(bundle.build().dgram, self._address)


def _connection(host: str, port: int) -> tuple[socket.socket, tuple[str, int]]:
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    except OSError as error:
        raise UsageError(f"There is no host {host} ({error.strerror or error}).") from error
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM), (str(address[0]), int(address[1]))
