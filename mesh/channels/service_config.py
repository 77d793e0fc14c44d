"""gRPC's own service config: which address a call goes to, and when it is tried again (gRFC A2, A6, A17, A50)."""

import json
from collections.abc import Iterable

from mesh.access.descriptors import Method

_ATTEMPTS = 3  # with the first
# An address that answers nothing but errors for this long is left out for as long, and longer each time.
_WATCHED, _LEFT_OUT, _LEFT_OUT_AT_MOST = "10s", "10s", "300s"


def service_config(methods: Iterable[Method], *, health_checked: bool) -> str:
    """Return how to make calls to a service with several addresses, as `grpc.service_config` takes it.

    Calls go round among the addresses that are connected, say that they serve, and do not fail at every call. Only
    methods that their contract calls idempotent are tried again, and these only before anything of an answer has come.

    Args:
        methods: The methods that may be called.
        health_checked: Whether each address is asked for its health (grpc.health.v1). One that does not know the
            question counts as healthy.

    """
    config: dict[str, object] = {
        "loadBalancingConfig": [{"outlier_detection_experimental": _OUTLIERS}],
        # While most calls fail, nothing is tried again: retries are not to bury who is in trouble.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    if health_checked:
        config["healthCheckConfig"] = {"serviceName": ""}
    if names := [_name(method) for method in methods if method.idempotent]:
        config["methodConfig"] = [{"name": names, "retryPolicy": _RETRIES}]
    return json.dumps(config)


_RETRIES = {
    "maxAttempts": _ATTEMPTS,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

_OUTLIERS = {
    "interval": _WATCHED,
    "baseEjectionTime": _LEFT_OUT,
    "maxEjectionTime": _LEFT_OUT_AT_MOST,
    # gRPC counts every status but OK as a failure, NOT_FOUND too. So an address must fail at every single call, and
    # callers who provoke that can shut out no more than half of them (of three, two).
    "failurePercentageEjection": {"threshold": 99, "minimumHosts": 2, "requestVolume": 20},
    "maxEjectionPercent": 50,
    "childPolicy": [{"round_robin": {}}],
}


def _name(method: Method) -> dict[str, str]:
    return {"service": method.service, "method": method.path.rpartition("/")[2]}
