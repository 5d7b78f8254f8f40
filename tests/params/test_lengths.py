"""The length of an answer that first answers propose."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as some

from relex.params.lengths import Cut, lengths, proposed


@given(some.integers(1, 500), some.integers(0, 3000))
def test_lengths_rise_from_the_shortest_to_the_longest_by_half_at_most_or_to_the_next_four(shortest: int, more: int):
    found = lengths(shortest, shortest + more)
    assert (found[0], found[-1]) == (shortest, shortest + more)
    assert all(one < next_ <= max(one * 1.5 + 4, one + 1) for one, next_ in itertools.pairwise(found))
    assert len(found) < 30


def test_the_shortest_that_keeps_what_is_right_and_cuts_few_off():
    cuts = [Cut(8, 0.1, 0.9), Cut(16, 0.4, 0.3), Cut(32, 0.4, 0.04), Cut(64, 0.42, 0.0)]
    assert proposed(cuts, 0.1).tokens == 32  # 16 cuts too many off
    assert proposed(cuts, 0.3).tokens == 16
    assert proposed(cuts, 1.0).tokens == 16  # 8 is rarely right
    assert proposed(cuts[:1], 0.1).tokens == 8  # none will do: the longest that was tried


@given(some.lists(some.tuples(some.floats(0, 1), some.floats(0, 1)), min_size=1, max_size=8), some.floats(0.01, 1))
def test_no_shorter_one_would_have_done(shares: list[tuple[float, float]], bound: float):
    cuts = [Cut(10 * (at + 1), right, cut_off) for at, (right, cut_off) in enumerate(shares)]
    found = proposed(cuts, bound)
    will_do = [cut for cut in cuts if cut.right >= 0.75 * cuts[-1].right and cut.cut_off <= bound]
    assert found == (will_do[0] if will_do else cuts[-1])
