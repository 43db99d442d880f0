"""Targets with their verdicts: pure, so that bench/tests can hold them to account."""

import math
import statistics
from dataclasses import dataclass

# A verdict is about the median; the interval holds it with this confidence, or as near as the pairs permit.
CONFIDENCE = 0.95

# What a bare program may differ from itself.
A_A_NOISE = 0.03

Interval = tuple[float, float]


@dataclass(frozen=True)
class Ratio:
    """The median of pairs' ratios, and the interval of that median."""

    median: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        return self.low, self.high

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def median_interval(values: list[float]) -> Ratio:
    """By order statistics, without any assumption about how the values scatter: the median lies outside the k-th least and
    the k-th most as often as a coin falls fewer than k times on one side. With fewer than six values the whole span is told,
    which holds it less surely (five: 94 %)."""
    ranked = sorted(values)
    count, k = len(ranked), 1
    while k < count // 2 and 2 * sum(math.comb(count, i) for i in range(k + 1)) / 2**count <= 1 - CONFIDENCE:
        k += 1
    return Ratio(statistics.median(ranked), ranked[k - 1], ranked[-k])


def ratio(one: list[float], other: list[float]) -> Ratio:
    """Of what was measured in pairs."""
    return median_interval([a / b for a, b in zip(one, other, strict=True)])


def difference(one: list[float], other: list[float]) -> Ratio:
    """The same of the pairs' differences."""
    return median_interval([a - b for a, b in zip(one, other, strict=True)])


def noise(values: list[float]) -> Ratio | None:
    """One program against itself: what it did in neighbouring slices. What differs here is the machine. `None`: it has no two."""
    half = len(values) // 2
    return ratio(values[0 : 2 * half : 2], values[1 : 2 * half : 2]) if half else None


def same(values: list[float]) -> float | None:
    """The median of a program's ratios against itself."""
    itself = noise(values)
    return itself.median if itself else None


def quotient(one: Ratio, other: Ratio) -> Ratio:
    """Of two figures that were measured apart, at worst."""
    return Ratio(one.median / other.median, one.low / other.high, one.high / other.low)


@dataclass(frozen=True)
class Target:
    """What is asked of one figure, and what a bare program reached in tapgate's place. `at_first`: what was asked before the
    target was revised (docs/adr/0016-revised-targets.md)."""

    name: str
    measured: float
    relation: str
    asked: float
    interval: Interval | None = None
    bare: float | None = None
    at_first: float | None = None

    @classmethod
    def of(
        cls, name: str, measured: Ratio, relation: str, asked: float, bare: float | None = None, at_first: float | None = None
    ) -> "Target":
        return cls(name, measured.median, relation, asked, measured.interval, bare, at_first)

    def meets(self, figure: float) -> bool:
        match self.relation:
            case "<=":
                return figure <= self.asked
            case ">=":
                return figure >= self.asked
            case "±":
                return abs(figure - 1) <= self.asked
        raise ValueError(self.relation)

    @property
    def verdict(self) -> str:
        met = self.meets(self.measured)
        if self.interval is not None and any(self.meets(end) != met for end in self.interval):
            return "met, not beyond noise" if met else "missed, not beyond noise"
        if not met and self.bare is not None and not self.meets(self.bare):
            return "missed, as a bare one"
        return "met" if met else "missed"

    def row(self) -> str:
        around = f"{figure(self.interval[0])} to {figure(self.interval[1])}" if self.interval else ""
        asked = f"1 ± {self.asked:g}" if self.relation == "±" else f"{self.relation} {self.asked:,}"
        if self.at_first is not None:
            asked += f" (at first {self.at_first:,})"
        beside = "" if self.bare is None else figure(self.bare)
        return f"| {self.name} | {figure(self.measured)} | {around} | {asked} | {self.verdict} | {beside} |"


@dataclass(frozen=True)
class NotMeasured:
    """A target that has no figure here, and why."""

    name: str
    reason: str

    def row(self) -> str:
        return f"| {self.name} | | | | {self.reason} | |"


def a_a(what: str, values: list[float]) -> Target | NotMeasured:
    """Whether a program equals itself here: beyond that no other ratio says anything."""
    name, itself = f"0. A/A: {what} / itself", noise(values)
    if itself is None:
        return NotMeasured(name, "a single pair: give more of them")
    return Target(name, itself.median, "±", A_A_NOISE, itself.interval)


# Nothing of these is there to be measured.
NOT_BUILT = [
    NotMeasured("6. Replicated: appends / the bare fenced etcd's", "not built yet: there is no replica"),
    NotMeasured("8. Overload: a shed's cost, goodput at 3 × capacity", "measured by `make overload`"),
]


def figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.2f}"


def table(targets: list[Target | NotMeasured]) -> str:
    """In the targets' order. The last column is the same figure of a bare program: the bare server, the group commit alone, or
    maps that only remember."""
    lines = ["| target | measured | interval | asked | verdict | a bare one |", "|---|---|---|---|---|---|"]
    lines += [target.row() for target in sorted(targets, key=lambda target: target.name.split(".", 1)[0])]
    return "\n".join(lines)
