#!/usr/bin/env bash
# Counts the hot path's instructions at a commit's parent and in the working tree, in one run, and fails where one rose by
# more than 3 %: instructions.sh TARGET_DIRECTORY [PARENT]
#
# A rise that is meant is said in the commit's message, in a line of its own: "Instructions-rise: why". It is then shown
# and does not fail.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$1
parent=${2:-HEAD^}
bench=bench/benches/instructions.rs
base=$target/instructions-parent
# Both trees share what cargo built and where the counts are kept.
export CARGO_TARGET_DIR=$target GUNGRAUN_HOME=$target/gungraun
limits=(--callgrind-limits='ir=3.0%')

count() { # count DIRECTORY OPTION...
  local directory=$1
  shift
  (cd "$directory" && cargo bench --quiet --package tapgate-bench --bench instructions -- "$@")
}

if ! git cat-file -e "$parent:$bench" 2>/dev/null; then
  echo "instructions: $parent is not here or has no such bench; these counts stand alone"
  count .
  exit
fi

git worktree prune
rm -rf "$base"
git worktree add --quiet --force --detach "$base" "$parent"
trap 'git worktree remove --force "$base"' EXIT
echo "instructions: counting $(git log -1 --format='%h %s' "$parent")"
count "$base" --save-baseline=parent >/dev/null
echo "instructions: counting the working tree; a rise over 3 % fails"
if count . --baseline=parent "${limits[@]}"; then
  exit 0
fi
if reason=$(git log -1 --format=%B | sed -n 's/^Instructions-rise: //p' | grep .); then
  echo "instructions: the rise is meant: $reason"
  exit 0
fi
echo "instructions: a count rose by more than 3 % over the parent commit, or the benches failed. The functions are named above;" >&2
echo "  where the rise is meant, say so in the commit's message: \"Instructions-rise: why\"" >&2
exit 1
