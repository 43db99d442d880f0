#!/usr/bin/env python3
"""Switches off each defence of the threat model, one after the other, and expects its test to fail.

    scripts/defences.py [PART OF A THREAT …]

The work tree must be clean: sources are changed, and put back. TAPGATE_VENV: the acceptance tests' virtual environment.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEFENCES = ROOT / "server/tests/defences/defences.toml"
ACCEPTANCE = ROOT / "server/tests/acceptance"


def target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def run(*command, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def build(defence: dict) -> subprocess.CompletedProcess:
    if "acceptance" in defence:
        return run("cargo", "build", "--quiet", "--package", "tapgate")
    package, _ = defence["rust"].split()
    return run("cargo", "test", "--quiet", "--package", package, "--all-features", "--no-run")


def test(defence: dict) -> subprocess.CompletedProcess:
    if "acceptance" in defence:
        python = Path(os.environ.get("TAPGATE_VENV", target() / "acceptance-venv")) / "bin/python"
        binary = str(target() / "debug/tapgate")
        arguments = defence["acceptance"].split()
        return run(str(python), "-m", "pytest", "-q", "-x", *arguments, cwd=ACCEPTANCE, TAPGATE_BIN=binary)
    package, name = defence["rust"].split()
    return run("cargo", "test", "--quiet", "--package", package, "--all-features", name)


def has_tested(outcome: subprocess.CompletedProcess) -> bool:
    """A test that is not there fails nothing, and a program that does not start proves nothing."""
    return any(word in outcome.stdout for word in ("FAILED", "failed,", " failed"))


def judge(defence: dict) -> str | None:
    """What is wrong, if anything: the defence is switched off for as long as this takes."""
    file = ROOT / defence["file"]
    source = file.read_text()
    if source.count(defence["with"]) != 1:
        return f"{defence['file']} does not have the defending text once: bring {DEFENCES.name} up to date"
    try:
        file.write_text(source.replace(defence["with"], defence["without"]))
        built = build(defence)
        if built.returncode != 0:
            return f"it does not build without the defence:\n{built.stdout[-2000:]}"
        tested = test(defence)
        if tested.returncode == 0:
            return "its test passes without the defence"
        if not has_tested(tested):
            return f"its test did not run:\n{tested.stdout[-2000:]}"
        return None
    finally:
        file.write_text(source)


def main() -> int:
    if run("git", "diff", "--quiet").returncode != 0:
        print("the work tree has changes: commit them first", file=sys.stderr)
        return 2
    asked = sys.argv[1:]
    wrong = 0
    for defence in tomllib.loads(DEFENCES.read_text())["defence"]:
        if asked and not any(part in defence["threat"] for part in asked):
            continue
        found = judge(defence)
        wrong += found is not None
        print(f"{'missed' if found else 'seen'}: {defence['threat']}{': ' + found if found else ''}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
