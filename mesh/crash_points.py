"""Named points at which a test can have a process die, as by `kill -9` or a power cut."""

import os
import signal

VARIABLE = "SEKISHO_CRASH_AT"

_crash_at = os.environ.get(VARIABLE, "")


def crash_point(service: str, what: str, when: str) -> None:
    """Die here if the environment names this point, as `service.what.when`; do nothing otherwise.

    So `payments.CreatePaymentRequest.commit` stands just before the commit of a payment.
    """
    if _crash_at and _crash_at == f"{service}.{what}.{when}":
        os.kill(os.getpid(), signal.SIGKILL)
