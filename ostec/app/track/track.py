"""``ostec track``."""

from dataclasses import dataclass

from ostec.app.track.options import TrackOptions


@dataclass(frozen=True)
class Track(TrackOptions):
    """Track a face in a video, pictures or a camera: its pose and expressions, and a head that moves as it does."""

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.track.run import TrackRun

        self.running.begin()
        return TrackRun(self).run()
