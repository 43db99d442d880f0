#!/usr/bin/env bash
# Installs a cargo subcommand into a directory of its own: install-cargo-tool.sh TOOL DIRECTORY
#
# scripts/tools/TOOL.txt pins its version and hashes. The prebuilt wheel takes a second; where there is none for this
# machine, cargo compiles the same version in some minutes.
set -euo pipefail

tool=$1
directory=$2
pin=$(dirname "$0")/tools/$tool.txt
version=$(sed -n 's/^[a-z].*==\([0-9.]*\).*/\1/p' "$pin")

if [ -x "$directory/bin/$tool" ] && cmp -s "$pin" "$directory/$tool.pin"; then
  exit 0
fi

printf 'install: %s %s\n' "$tool" "$version"
[ -x "$directory/bin/pip" ] || python3 -m venv "$directory"
if ! "$directory/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --requirement "$pin"; then
  printf 'install: no prebuilt %s; compiling it\n' "$tool"
  cargo install --locked --version "$version" --root "$directory" "$tool"
fi
cp "$pin" "$directory/$tool.pin"
