"""Shamir's secret sharing of 32-byte secrets (Shamir 1979) over the integers modulo 2^256 + 297.

2^256 + 297 is the least prime above 2^256, so every 32-byte string, read as a big-endian integer,
is a field element as it stands. A share is the value of the secret polynomial at a point ≥ 1, as
33 big-endian bytes; share i belongs to point i + 1, the secret to point 0. Fewer than `threshold`
shares are uniform and independent of the secret; shares carry no checksum, so the caller compares
what it recovers with a commitment. Python's integers take time that depends on their values: run
this where nobody else can measure it to the nanosecond.
"""

import secrets
from collections.abc import Sequence
from math import prod
from operator import mul

from sealora.protocol.errors import ProtocolError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Share a 32-byte secret among `count` holders, any `threshold` of whom recover it.

    Returns: `count` shares of 33 bytes, for the points 1 … count.
    Raises: ValueError if the secret is not 32 bytes or not 1 ≤ threshold ≤ count.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= count:
        raise ValueError("a secret is 32 bytes, and its threshold lies between 1 and the number of shares")
    polynomial = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    polynomial.append(int.from_bytes(secret, "big"))
    return [_evaluate(polynomial, point).to_bytes(SHARE_BYTES, "big") for point in range(1, count + 1)]


class Recovery:
    """Recovers secrets from the shares of one set of survivors.

    The Lagrange coefficients at zero depend on the points alone: they cost O(t²) once, and each
    secret is then one inner product.
    """

    def __init__(self, points: Sequence[int]) -> None:
        """`points`: the survivors' points, distinct, ≥ 1, at least `threshold` of them.

        Raises: ValueError for points that are no set of holders. With fewer than `threshold` points
        `secret` returns a wrong value or raises.
        """
        if not points or len(set(points)) != len(points) or not all(1 <= point < PRIME for point in points):
            raise ValueError("points are distinct integers from 1")
        self._coefficients = _coefficients_at_zero(points)

    def secret(self, shares: Sequence[bytes]) -> bytes:
        """The 32-byte secret whose shares at the points, in their order, are given.

        Raises: ProtocolError("bad_share", …) if a share is not the 33-byte encoding of a field
        element or the value is no 32-byte secret; ValueError unless there is a share for each point.
        """
        if len(shares) != len(self._coefficients):
            raise ValueError("there must be one share for each point")
        value: int = sum(map(mul, self._coefficients, _elements(shares))) % PRIME
        if value >= 2 ** (8 * SECRET_BYTES):
            raise ProtocolError("bad_share", "the shares do not belong to one 32-byte secret")
        return value.to_bytes(SECRET_BYTES, "big")


def _evaluate(polynomial: Sequence[int], point: int) -> int:
    """Horner's rule; the highest power's coefficient comes first."""
    value = 0
    for coefficient in polynomial:
        value = (value * point + coefficient) % PRIME
    return value


def _coefficients_at_zero(points: Sequence[int]) -> list[int]:
    """λ_j = ∏_{m≠j} x_m / (x_m - x_j), as ∏ x_m divided by x_j ∏_{m≠j} (x_m - x_j)."""
    numerator = prod(points) % PRIME
    denominators = [
        point * prod(other - point for other in points if other != point) % PRIME for point in points
    ]
    return [numerator * inverse % PRIME for inverse in _inverses(denominators)]


def _inverses(elements: Sequence[int]) -> list[int]:
    """Inverses of non-zero elements for the price of one (Montgomery 1987, section 10.3.1)."""
    before = [1]
    for element in elements:
        before.append(before[-1] * element % PRIME)
    rest = pow(before.pop(), -1, PRIME)
    inverses = []
    for element in reversed(elements):
        inverses.append(rest * before.pop() % PRIME)
        rest = rest * element % PRIME
    return inverses[::-1]


def _elements(shares: Sequence[bytes]) -> list[int]:
    values = [int.from_bytes(share, "big") for share in shares]
    if any(len(share) != SHARE_BYTES for share in shares) or max(values) >= PRIME:
        raise ProtocolError("bad_share", "a share is not the encoding of a field element")
    return values
