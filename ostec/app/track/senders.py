"""Tracked frames sent to programs that listen, by UDP."""

import abc
import socket
import uuid
from typing import TYPE_CHECKING

from ostec.core.errors import UsageError

if TYPE_CHECKING:
    from ostec.export.track import TrackRow


class Sender(abc.ABC):
    """Sends each frame to one address."""

    def __init__(self, host: str, port: int, subject: str) -> None:
        """``subject`` is whose face it is. Raises UsageError: there is no such host."""
        try:
            self._address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        except OSError as error:
            raise UsageError(f"There is no host {host} ({error.strerror or error}).") from error
        self._subject = subject
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __call__(self, row: "TrackRow", fps: float) -> None:
        """Send one frame."""
        self._socket.sendto(self._packet(row, fps), self._address)

    def close(self) -> None:
        """Send nothing more."""
        self._socket.close()

    @abc.abstractmethod
    def _packet(self, row: "TrackRow", fps: float) -> bytes:
        """What is sent of a frame."""


class LiveLinkSender(Sender):
    """Sends frames as the app Live Link Face does, under the subject's name."""

    def _packet(self, row: "TrackRow", fps: float) -> bytes:
        from ostec.export.track import live_link_packet

        return live_link_packet(row, self._subject, uuid.uuid5(uuid.NAMESPACE_DNS, f"ostec.{self._subject}"), fps)


class VmcSender(Sender):
    """Sends frames by the VMC protocol: a bundle of OSC messages each."""

    def _packet(self, row: "TrackRow", fps: float) -> bytes:  # noqa: ARG002 - the protocol has times instead
        from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
        from pythonosc.osc_message_builder import OscMessageBuilder

        from ostec.export.track import vmc_messages

        bundle = OscBundleBuilder(IMMEDIATELY)
        for address, values in vmc_messages(row):
            message = OscMessageBuilder(address)
            for value in values:
                message.add_arg(value)
            bundle.add_content(message.build())
        return bundle.build().dgram
