"""How long to wait before trying again."""

from dataclasses import dataclass

_MAX_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double.

    Attributes:
        first_seconds: The first pause.
        most_seconds: No pause is longer.

    """

    first_seconds: float
    max_seconds: float

    def pause_seconds(self, attempts: int) -> float:
        """Return the pause after so many attempts; `attempts` counts from 1."""
        doublings = min(attempts - 1, _MAX_DOUBLINGS)
        return min(self.first_seconds * 2.0**doublings, self.max_seconds)
