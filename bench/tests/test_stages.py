"""How a trace is shown."""

from slices import Side, Slice, Use, shown_threads
from stages import stages


def line(name, mean, share):
    spread = {"mean_us": mean, "p50_us": mean, "p99_us": mean * 2, "p999_us": mean * 3}
    return {"name": name, "all": spread, "slowest": spread, "share_percent": share}


def test_what_lies_within_the_decision_comes_after_it():
    said = {
        "callbacks": 12_000, "slowest": 120, "explained_percent": 93.25, "outside_percent": 20.0, "windows_with_slow": 3,
        "windows": 600, "latency": line("due → received", 1_500, 100), "within": [line("on a core", 40, 4)],
        "stages": [line("→ verified and parsed", 36, 3), line("→ decided", 7, 1), line("→ task runs", 30, 2)],
    }  # fmt: skip
    text = stages("tapgate", said)
    assert "12,000 callbacks; of the slowest 120 the stages explain 93.2 % (asked: 80)" in text
    names = [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("|")][2:]
    assert names == ["due → received", "→ verified and parsed", "→ decided", "· on a core", "→ task runs"]
    assert "| → decided | 7.0 | 7.0 | 14.0 | 21.0 | 7.0 | 14.0 | 1.0 % |" in text


def test_threads_are_told_by_request():
    def one(answered, ran, waited, flushes):
        uses = {"worker": Use(ran, waited), "idle": Use(0.0, 1.0)}
        return Slice(1.0, answered, uses, {}, {}, flushes, 1, 0.0)

    side = Side("tapgate", 1, None, None, [one(1_000, 0.05, 0.01, 1), one(1_000, 0.07, 0.03, 0)])
    assert shown_threads([side]).splitlines()[2:] == ["| tapgate | worker | 60.0 | 20.0 |"]
    assert side.quiet_slices() == 1
