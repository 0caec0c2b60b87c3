"""Secret sharing: recovery by every sufficient set, and nothing learnt by any other."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol import shamir
from sealora.protocol.errors import ProtocolError
from sealora.protocol.shamir import PRIME, Recovery, split

VECTORS = Path(__file__).with_name("vectors")
SECRETS = st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32])


def cases(expect: str) -> list[Any]:
    """The frozen cases that expect a secret or a failure class."""
    entries = json.loads((VECTORS / "shamir.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in entries if case["expect"] == expect]


def interpolate(values: dict[int, int], at: int, prime: int = PRIME) -> int:
    """The polynomial through (point, value) pairs, evaluated by Lagrange's formula as it is written."""
    total = 0
    for j, value in values.items():
        for m in values:
            if m != j:
                value = value * (at - m) * pow(j - m, -1, prime) % prime
        total += value
    return total % prime


def draws(monkeypatch: pytest.MonkeyPatch, coefficients: Sequence[int]) -> None:
    """Make the next polynomial's coefficients known, from the highest power down."""
    source: Iterator[int] = iter(coefficients)
    monkeypatch.setattr(shamir.secrets, "randbelow", lambda _: next(source))


def recover(shares: Sequence[bytes], points: Sequence[int]) -> bytes:
    return Recovery(points).secret([shares[point - 1] for point in points])


def test_the_prime_is_the_least_above_every_secret() -> None:
    def is_prime(number: int) -> bool:  # Miller and Rabin's test for the first forty bases
        odd, twos = number - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        powers = ([pow(base, odd << i, number) for i in range(twos)] for base in range(2, 42))
        return all(chain[0] == 1 or number - 1 in chain for chain in powers)

    assert [offset for offset in range(1, 298, 2) if is_prime(2**256 + offset)] == [PRIME - 2**256]


@pytest.mark.parametrize("case", cases("secret"))
def test_frozen_shares(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    secret, shares = bytes.fromhex(case["secret"]), [bytes.fromhex(share) for share in case["shares"]]
    coefficients = [int(coefficient, 16) for coefficient in case["coefficients"]]
    draws(monkeypatch, coefficients)
    assert split(secret, len(coefficients) + 1, len(shares)) == shares
    assert recover(shares, case["survivors"]) == secret
    survivors = {point: int.from_bytes(shares[point - 1], "big") for point in case["survivors"]}
    assert interpolate(survivors, 0) == int.from_bytes(secret, "big")


@pytest.mark.parametrize("case", cases("bad_share"))
def test_bad_shares_are_refused(case: dict[str, Any]) -> None:
    recovery = Recovery(case["survivors"])
    with pytest.raises(ProtocolError) as error:
        recovery.secret([bytes.fromhex(share) for share in case["shares"]])
    assert error.value.failure == case["expect"]


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 5), (5, 6), (6, 6)])
def test_every_sufficient_set_recovers_in_any_order(threshold: int, count: int) -> None:
    secret = random.Random(count).randbytes(32)
    shares = split(secret, threshold, count)
    for size in range(threshold, count + 1):
        for points in itertools.combinations(range(1, count + 1), size):
            assert recover(shares, points) == secret
            assert recover(shares, points[::-1]) == secret


@given(SECRETS, st.data())
@settings(deadline=None, max_examples=60)
def test_any_sufficient_set_recovers(secret: bytes, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    threshold = data.draw(st.integers(1, count))
    points = data.draw(st.permutations(range(1, count + 1)))[: data.draw(st.integers(threshold, count))]
    shares = split(secret, threshold, count)
    assert len(shares) == count
    assert {len(share) for share in shares} == {33}
    assert recover(shares, points) == secret


@given(SECRETS, SECRETS, st.data())
@settings(deadline=None, max_examples=40)
def test_fewer_shares_are_explained_by_any_other_secret(
    secret: bytes, other: bytes, data: st.DataObject
) -> None:
    count = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, count))
    points = data.draw(st.permutations(range(1, count + 1)))[: threshold - 1]
    seen = split(secret, threshold, count)
    # The one polynomial of `other` through the shares seen: fixed by `threshold` of its values.
    known = {0: int.from_bytes(other, "big"), **{p: int.from_bytes(seen[p - 1], "big") for p in points}}
    explained = [interpolate(known, point).to_bytes(33, "big") for point in range(1, count + 1)]
    assert [explained[p - 1] for p in points] == [seen[p - 1] for p in points]
    holders = range(1, threshold + 1)
    value = interpolate({p: int.from_bytes(explained[p - 1], "big") for p in holders}, 0)
    assert value.to_bytes(32, "big") == other


@pytest.mark.parametrize("holders", list(itertools.combinations(range(4), 2)))
def test_fewer_shares_say_nothing_in_a_field_of_eleven(
    holders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shamir, "PRIME", 11)
    views = []
    for secret in range(11):
        view: Counter[tuple[bytes, ...]] = Counter()
        for coefficients in itertools.product(range(11), repeat=2):
            draws(monkeypatch, coefficients)
            shares = split(secret.to_bytes(32, "big"), 3, 4)
            view[tuple(shares[holder] for holder in holders)] += 1
        views.append(view)
    # Every secret shows two of three holders each of the 121 views exactly once.
    assert all(len(view) == 121 and set(view.values()) == {1} for view in views)
    assert all(set(view) == set(views[0]) for view in views)


def test_too_few_shares_do_not_recover(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = bytes(range(32))
    draws(monkeypatch, [3, 1, 4])
    shares = split(secret, 4, 6)
    for points in itertools.combinations(range(1, 7), 3):
        assert recover(shares, points) != secret


def test_a_secret_is_shared_differently_each_time() -> None:
    first, second = split(bytes(32), 2, 3), split(bytes(32), 2, 3)
    assert all(one != two for one, two in zip(first, second, strict=True))


def test_coefficients_cover_the_whole_field(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings: list[int] = []
    monkeypatch.setattr(shamir.secrets, "randbelow", lambda ceiling: ceilings.append(ceiling) or 1)
    split(bytes(32), 5, 5)
    assert ceilings == [PRIME] * 4


def test_one_recovery_serves_many_secrets() -> None:
    recovery = Recovery([7, 2, 5])
    for secret in (bytes(32), bytes(range(32)), b"\xff" * 32):
        shares = split(secret, 3, 7)
        assert recovery.secret([shares[6], shares[1], shares[4]]) == secret


@pytest.mark.parametrize(
    ("secret", "threshold", "count"), [(31, 2, 3), (33, 2, 3), (32, 0, 3), (32, 4, 3), (32, 1, 0)]
)
def test_impossible_splits_are_refused(secret: int, threshold: int, count: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        split(bytes(secret), threshold, count)


@pytest.mark.parametrize("points", [[], [0], [1, 1], [-1, 2], [1, PRIME], [1, PRIME + 1]])
def test_impossible_points_are_refused(points: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        Recovery(points)


@pytest.mark.parametrize("shares", [0, 1, 3])
def test_there_is_one_share_for_each_point(shares: int) -> None:
    with pytest.raises(ValueError, match="each point"):
        Recovery([1, 2]).secret([bytes(33)] * shares)


def test_a_thousand_holders() -> None:
    secret = bytes(range(32))
    shares = split(secret, 667, 1000)
    assert recover(shares, range(334, 1001)) == secret
