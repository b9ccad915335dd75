"""What to measure. Imports no torch, and does not postpone annotations: they are the schema of a command line."""

from dataclasses import dataclass, field
from pathlib import Path

from fomm.errors import InputError
from fomm.numbers import MAX_COUNT


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What to measure.

    Args:
        every: measure one of so many frames; all are animated.
        metrics: their names in report.json, one or more; by default all that can be computed.
        face_networks: identity networks of your own, ONNX files.
        video_network: a network for FVD, an ONNX file; docs/evaluation.md.
    """

    every: int = 1
    metrics: list[str] = field(default_factory=list)
    face_networks: list[str] = field(default_factory=list)
    video_network: str | None = None

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        check_count("every", self.every)
        known = self.known_metrics
        if unknown := [name for name in self.metrics if name not in known]:
            raise InputError(f"--metrics {unknown[0]}: no such metric; choose from {', '.join(known)}")

    @property
    def known_metrics(self) -> list[str]:
        """All that there are, those of the user's networks in the end."""
        from fomm.evaluation.definitions import METRICS  # which imports numpy

        return [*METRICS, *sorted({f"identity_{Path(file).stem}" for file in self.face_networks})]

    def asks_for(self, *names: str) -> bool:
        """Whether one of these metrics is to be measured."""
        return not self.metrics or any(name in self.metrics for name in names)


def check_count(option: str, value: int) -> None:
    """Raises InputError unless it can be a number of things."""
    if not 1 <= value <= MAX_COUNT:
        raise InputError(f"--{option} {value}: must be at least 1, and at most {MAX_COUNT}")
