from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from farebox.kafka.backoff import Backoff

BACKOFF = Backoff(base_s=0.1, cap_s=30.0)


def test_doubles_from_its_base_to_its_cap() -> None:
    assert [BACKOFF.delay_s(n, 1.0) for n in (1, 2, 3, 10)] == [0.1, 0.2, 0.4, 30.0]


@given(attempt=st.integers(1, 10**9), jitter=st.floats(0, 1, exclude_max=True))
def test_is_never_over_its_cap_nor_under_half_its_base(attempt: int, jitter: float) -> None:
    assert 0.05 <= BACKOFF.delay_s(attempt, jitter) <= 30.0


def test_never_shrinks() -> None:
    assert all(a <= b for a, b in pairwise(BACKOFF.delay_s(n, 0.5) for n in range(1, 100)))
