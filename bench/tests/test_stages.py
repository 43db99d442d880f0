"""How a trace is shown."""

from slices import Job, Side, Slice, Use, jobs, shown_threads
from stages import bursts, stages

LOG = """2026/11/29-22:21:58 7057 [db/version_set.cc] nothing
2026/11/29-22:21:58 7057 EVENT_LOG_v1 {"time_micros": 1000, "job": 2, "event": "flush_started", "num_memtables": 1}
2026/11/29-22:21:58 7057 EVENT_LOG_v1 {"time_micros": 1500, "cf_name": "users", "job": 2, "event": "table_file_creation"}
2026/11/29-22:21:58 7058 (Original Log Time 2026) EVENT_LOG_v1 {"time_micros": 3000, "job": 2, "event": "flush_finished"}
2026/11/29-22:21:58 7057 EVENT_LOG_v1 {"time_micros": 4000, "job": 3, "event": "compaction_started", "files": [1]}
"""


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


def test_a_job_lasts_from_its_start_to_its_end():
    assert jobs("rows", LOG) == [Job("flush of rows", 1_000, 3_000), Job("compaction of rows", 4_000, 2**63)]


def test_a_burst_names_what_ran_meanwhile():
    said = {"first_unix_micros": 400_000, "bursts": [{"unix_micros": at, "slow": 7, "stage": "→ task runs"} for at in (1_000_000, 3_500_000)]}
    early, late = Job("flush of rows", 900_000, 1_000_000), Job("compaction of journal", 3_650_000, 9_000_000)
    between = Job("flush of journal", 1_300_000, 3_400_000)
    assert bursts(said, [early, late, between, late]).splitlines()[2:] == [
        "| 0.6 | 7 | → task runs | flush of rows |",
        "| 3.1 | 7 | → task runs | compaction of journal |",
    ]
