"""How long to wait before trying again."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double.

    Attributes:
        first_seconds: The first pause.
        most_seconds: No pause is longer.

    """

    first_seconds: float
    most_seconds: float

    def pause_seconds(self, attempts: int) -> float:
        """Return the pause after so many attempts; `attempts` counts from 1."""
        doublings = min(attempts - 1, _MOST_DOUBLINGS)
        return min(self.first_seconds * 2.0**doublings, self.most_seconds)
