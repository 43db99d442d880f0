#!/usr/bin/env python3
"""Changes the sources of decisions in small ways, one after the other, and expects a test of the engine to fail each time.

    scripts/mutants.py [--diff REVISION] [--shard K/N]

With --diff only what changed since a revision is mutated, and nothing is installed or built where that is nothing. Without it
the figures go to docs/reliability/mutants.csv. A mutant that no test sees must be in docs/reliability/survivors.toml, with the
reason. MUTANTS_TARGET is the directory for what is built; TOOLS has cargo-mutants, and PATH finds it.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = Path(os.environ.get("MUTANTS_TARGET", ROOT / "target/mutants"))
FIGURES = ROOT / "docs/reliability/mutants.csv"
SURVIVORS = ROOT / "docs/reliability/survivors.toml"
# What decides, prices and settles.
SOURCES = [
    "engine/src/contract/limit.rs",
    "engine/src/contract/pricing.rs",
    "engine/src/ledger/commit.rs",
    "engine/src/rules/ladder.rs",
    "engine/src/rules/standing.rs",
]
OUTCOMES = ["caught", "missed", "timeout", "unviable"]
WHOLE = "0/1"
CAUGHT_MIN = 0.9
# Tests that take longest. What passes without them meets them as well.
SLOW = ["settlement::any_order", "settlement::rows_of", "growth::", "hostile::an_i", "journal::decisions_go",
        "journal::a_full", "threads::"]  # fmt: skip


def mutate(output: Path, arguments: list[str], skipped: list[str], seconds: int) -> dict[str, list[str]]:
    """Plays every mutant; the names of those of each outcome. Where there is nothing to mutate, no outcome is written."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    tests = ["--lib", "--test", "all", "--", "-Zunstable-options", "--fail-fast"]
    tests += [word for name in skipped for word in ("--skip", name)]
    command = ["cargo", "mutants", "--package", "tapgate-engine", "--no-default-features", "--profile", "mutants"]
    command += ["--baseline", "skip", "--no-shuffle", "--timeout", str(seconds), "--output", str(output)]
    # The libtest of the pinned stable compiler stops at the first failure only where it is told that it may.
    environment = {"TAPGATE_CASES": "30", **os.environ, "RUSTC_BOOTSTRAP": "1", "CARGO_TARGET_DIR": str(TARGET)}
    played = subprocess.run([*command, *arguments, "--", *tests], cwd=ROOT, env=environment)
    # 2: some were missed; 3: some took too long.
    if played.returncode not in (0, 2, 3):
        sys.exit(f"cargo mutants ended with {played.returncode}")
    written = {outcome: output / "mutants.out" / f"{outcome}.txt" for outcome in OUTCOMES}
    return {outcome: file.read_text().splitlines() if file.exists() else [] for outcome, file in written.items()}


def play(arguments: list[str]) -> dict[str, list[str]]:
    output = TARGET / "outcomes"
    found = mutate(output, arguments, SLOW, 120)
    for name in found["missed"]:
        again = ["--re", f"^{re.escape(name)}$", *(word for source in SOURCES for word in ("--file", source))]
        for outcome, names in mutate(TARGET / "again", again, [], 900).items():
            if outcome != "missed" and names:
                found[outcome] = [*found[outcome], *names]
                found["missed"] = [one for one in found["missed"] if one not in names]
    return found


def without_place(name: str) -> str:
    """Its file and what it changes: lines move."""
    return re.sub(r"^(.*?):\d+:\d+: ", r"\1: ", name)


def keep(found: dict[str, list[str]], shard: str, revision: str) -> None:
    """Adds a row for each file to the figures, instead of an earlier row of the same shard."""
    read = csv.DictReader(FIGURES.open()) if FIGURES.exists() else []
    rows = {(row["file"], row["shard"]): row for row in read if shard != WHOLE}
    for source in SOURCES:
        counts = {outcome: sum(name.startswith(f"{source}:") for name in names) for outcome, names in found.items()}
        if any(counts.values()):
            rows[source, shard] = {"file": source, "shard": shard, **counts, "revision": revision}
    with FIGURES.open("w") as file:
        table = csv.DictWriter(file, ["file", "shard", *OUTCOMES, "revision"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows[key] for key in sorted(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diff", metavar="REVISION")
    parser.add_argument("--shard", metavar="K/N", default=WHOLE)
    asked = parser.parse_args()
    arguments = [word for source in SOURCES for word in ("--file", source)] + ["--shard", asked.shard]
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: E731
    if asked.diff:
        if subprocess.run(["git", "rev-parse", "--verify", "--quiet", asked.diff], cwd=ROOT, capture_output=True).returncode:
            print(f"this clone does not have {asked.diff}: nothing is mutated")
            return 0
        diff = git("diff", asked.diff, "--", *SOURCES)
        if not diff.strip():
            print(f"nothing that decides, prices or settles has changed since {asked.diff}")
            return 0
        subprocess.run([ROOT / "scripts/install-cargo-tool.sh", "cargo-mutants", os.environ["TOOLS"]], check=True)
        TARGET.mkdir(parents=True, exist_ok=True)
        (TARGET / "diff").write_text(diff)
        arguments += ["--in-diff", str(TARGET / "diff")]
    found = play(arguments)
    if not asked.diff:
        keep(found, asked.shard, git("rev-parse", "--short", "HEAD").strip())
    known = {survivor["mutant"] for survivor in tomllib.loads(SURVIVORS.read_text())["survivor"]}
    unknown = [name for name in found["missed"] if without_place(name) not in known]
    seen, all_of = (sum(len(found[outcome]) for outcome in of) for of in (["caught", "timeout"], OUTCOMES[:3]))
    print(", ".join(f"{len(names)} {outcome}" for outcome, names in found.items()))
    for name in unknown:
        print(f"no test sees it, and survivors.toml has no reason: {name}")
    return 1 if unknown or seen < CAUGHT_MIN * all_of else 0


if __name__ == "__main__":
    sys.exit(main())
