"""Makes JWTs of any shape, well signed or not."""

import base64
import json
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def es256(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    return lambda signed: ECAlgorithm(ECAlgorithm.SHA256).sign(signed, key)


def unsigned(signed: bytes) -> bytes:
    del signed
    return b""


def forge(header: Mapping[str, object], payload: object, sign: Callable[[bytes], bytes]) -> str:
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(payload).encode())}"
    return f"{signed}.{encode(sign(signed.encode()))}"
