#!/usr/bin/env python3
"""Compares the hot path's instructions with the pinned counts: instructions.py TARGET [--pin REASON]

bench/instructions.csv has a row a pin, oldest first: its date, its reason, and the count of each benchmark. The last row
is the limit: a new count is compared with the pinned one and never with that of the last run, so that small rises do not
add up.
"""

import csv
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PINNED = BENCH / "instructions.csv"
README = BENCH / "README.md"
TOLERANCE_PERCENT = 3.0
# The history in README.md stands between these lines.
BEGIN, END = "<!-- instructions: written by make instructions-pin -->", "<!-- instructions: end -->"


def counted(target: Path) -> dict:
    """The instructions of each benchmark, counted now."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(target), "GUNGRAUN_HOME": str(target / "gungraun")}
    command = ["cargo", "bench", "--package", "tapgate-bench", "--bench", "instructions", "--"]
    run = subprocess.run(
        [*command, "--output-format=json"], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode != 0:
        sys.exit("instructions: the benchmarks failed")
    counts = {}
    for line in run.stdout.splitlines():
        bench = json.loads(line)
        name = ".".join(filter(None, (bench["function_name"], bench.get("id"))))
        (profile,) = bench["profiles"]
        counts[name] = int(profile["data"]["total"]["metrics"]["Ir"]["values"]["new"])
    return counts


def history() -> list:
    """The rows of the pinned file; a benchmark that a row does not have yet is left out of it."""
    with PINNED.open(newline="") as file:
        return [{name: text for name, text in row.items() if text} for row in csv.DictReader(file)]


def percent(count: int, pinned: str) -> float:
    return 100 * (count / int(pinned) - 1)


def pin(counts: dict, reason: str) -> None:
    """Pins what moved by more than the tolerance; the rest keeps its pin, or every pin would let small rises add up."""
    rows = history()
    kept = {
        name: rows[-1][name]
        for name, count in counts.items()
        if name in rows[-1] and abs(percent(count, rows[-1][name])) <= TOLERANCE_PERCENT
    }
    if kept.keys() == counts.keys():
        print(f"instructions: every count is within {TOLERANCE_PERCENT} % of its pin; nothing to pin")
        return
    rows.append({"date": date.today().isoformat(), "reason": reason} | counts | kept)
    with PINNED.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["date", "reason", *counts], restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = README.read_text()
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    README.write_text(text[:before] + "\n\n" + charted(rows, list(counts)) + "\n" + text[after:])
    print(f"instructions: pinned in {PINNED.relative_to(BENCH.parent)}; commit it with bench/README.md")


def charted(rows: list, names: list) -> str:
    """The history as a table, and as a chart of each benchmark in percent of its first count."""
    lines = ["| date | " + " | ".join(names) + " | reason |", "|---|" + "---|" * len(names) + "---|"]
    for row in rows:
        cells = [f"{int(row[name]):,}" if name in row else "" for name in names]
        lines.append(f"| {row['date']} | " + " | ".join(cells) + f" | {row['reason']} |")
    if len(rows) > 1:
        lines += ["", "```mermaid", "xychart-beta", '    title "Instructions in percent of the first pin (a line a benchmark)"']
        lines.append("    x-axis [" + ", ".join(f'"{row["date"]}"' for row in rows) + "]")
        lines.append('    y-axis "percent"')
        for name in names:
            first = next(int(row[name]) for row in rows if name in row)
            points = [f"{100 * int(row.get(name, first)) / first:.1f}" for row in rows]
            lines.append(f"    line [{', '.join(points)}]")
        lines.append("```")
    return "\n".join(lines) + "\n"


def judge(counts: dict) -> list:
    """Prints every count beside its pin; the benchmarks that fail."""
    pinned = history()[-1]
    failed = []
    print(f"instructions against {PINNED.relative_to(BENCH.parent)} of {pinned['date']}, at most {TOLERANCE_PERCENT} % more:")
    for name, count in counts.items():
        if name not in pinned:
            print(f"  {name:<32} {count:>12,}  not pinned")
            failed.append(name)
            continue
        moved = percent(count, pinned[name])
        rose, fell = moved > TOLERANCE_PERCENT, moved < -TOLERANCE_PERCENT
        verdict = "  TOO MANY" if rose else "  fewer: pin it" if fell else ""
        print(f"  {name:<32} {count:>12,}  pinned {int(pinned[name]):>12,}  {moved:+6.2f} %{verdict}")
        if rose:
            failed.append(name)
    gone = set(pinned) - set(counts) - {"date", "reason"}
    return failed + [f"{name} (not counted)" for name in sorted(gone)]


def main() -> int:
    target = Path(sys.argv[1])
    counts = counted(target)
    if sys.argv[2:3] == ["--pin"]:
        if len(sys.argv) < 4 or not sys.argv[3].strip():
            print('instructions: a pin has a reason: make instructions-pin REASON="..."', file=sys.stderr)
            return 2
        pin(counts, sys.argv[3].strip())
        return 0
    failed = judge(counts)
    if not failed:
        return 0
    print(
        f"instructions: {', '.join(failed)}: more than the pinned counts permit, or not pinned.\n"
        f'  Where the change is meant:  make instructions-pin REASON="..."  and commit bench/instructions.csv.\n'
        f"  Where the instructions are:  callgrind_annotate {target}/gungraun/tapgate-bench/instructions/hot_path/*/*.out",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
