"""How targets are judged: medians, their intervals, and what a bare program says of the machine."""

import pytest

from verdicts import NOT_BUILT, NotMeasured, Ratio, Target, a_a, difference, median_interval, noise, quotient, ratio, same, table


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0], (2.0, 2.0, 2.0)),
        # Up to five values the whole span: it holds the median with 94 %, and nothing holds it more surely.
        ([3.0, 1.0, 2.0, 5.0, 4.0], (3.0, 1.0, 5.0)),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3.5, 1.0, 6.0)),
        # Of ten the second and the ninth: the median is outside them with 2 %, outside the third and the eighth with 11 %.
        ([float(value) for value in range(1, 11)], (5.5, 2.0, 9.0)),
        ([float(value) for value in range(1, 21)], (10.5, 6.0, 15.0)),
    ],
)
def test_the_interval_of_a_median(values, expected):
    found = median_interval(values)
    assert (found.median, found.low, found.high) == expected


def test_pairs_are_compared_and_not_sums():
    # The machine was half as fast for the second pair, for both.
    assert ratio([80, 40, 81], [100, 50, 100]) == Ratio(0.8, 0.8, 0.81)
    assert difference([17, 19], [10, 12]) == Ratio(7, 7, 7)
    with pytest.raises(ValueError):
        ratio([1, 2], [1])


def test_a_program_beside_itself():
    assert noise([100, 110, 100, 100, 50]) == Ratio((100 / 110 + 1) / 2, 100 / 110, 1.0)
    assert same([100, 110]) == 100 / 110
    assert noise([100]) is None and same([100]) is None
    assert a_a("it", [100, 98, 100, 99]).verdict == "met"
    assert a_a("it", [100, 90]).verdict == "missed"
    assert "a single pair" in a_a("it", [100]).row()


def test_a_revised_target_shows_what_was_asked_at_first():
    revised = Target("t", 0.4, ">=", 0.33, None, 0.6, 0.6)
    assert revised.verdict == "met" and "| >= 0.33 (at first 0.6) |" in revised.row()
    assert "at first" not in Target("t", 0.4, ">=", 0.33).row()


def test_figures_that_were_measured_apart_are_divided_at_worst():
    assert quotient(Ratio(6, 5, 8), Ratio(2, 1, 4)) == Ratio(3, 1.25, 8)


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("t", 0.7, ">=", 0.6), "met"),
        (Target("t", 0.5, ">=", 0.6), "missed"),
        (Target("t", 0.6, ">=", 0.6), "met"),
        (Target("t", 1.3, "<=", 1.2, (1.25, 1.4), 1.1), "missed"),
        (Target("t", 1.3, "<=", 1.2, (1.25, 1.4), 1.21), "missed, as a bare one"),
        (Target("t", 1.3, "<=", 1.2, (1.1, 1.4), 1.21), "missed, not beyond noise"),
        (Target("t", 1.1, "<=", 1.2, (1.0, 1.21)), "met, not beyond noise"),
        (Target("t", 1.02, "±", 0.03), "met"),
        (Target("t", 0.96, "±", 0.03, (0.94, 0.965)), "missed"),
    ],
)
def test_verdicts(target, verdict):
    assert target.verdict == verdict


def test_the_table_is_in_the_targets_order():
    target = Target.of("3. HTTP", Ratio(0.951, 0.9, 0.99), ">=", 0.92, 1.0)
    rows = table([*NOT_BUILT, target, NotMeasured("0. A/A", "left out"), Target("5. users", 1_728_541.3, ">=", 1_000_000)])
    assert [line.split("|")[1].strip()[:2] for line in rows.splitlines()[2:]] == ["0.", "3.", "5.", "6.", "8."]
    assert "| 3. HTTP | 0.95 | 0.90 to 0.99 | >= 0.92 | met, not beyond noise | 1.00 |" in rows
    assert "| 5. users | 1,728,541 |  | >= 1,000,000 | met |  |" in rows
    assert "| 0. A/A | | | | left out | |" in rows
