#!/usr/bin/env bash
# A month of virtual time in the sandbox under every fault profile: every answer, break and figure must be explained.
# Usage: soak-sandbox.sh TAPGATE [SECONDS [SPEED]]
set -euo pipefail
tapgate=$1 seconds=${2:-60} speed=${3:-43200}
seed=0
for faults in none lossy duplicate late reorder contradict outage ratelimit amounts tips statuses omit forms all; do
  seed=$((seed + 1))
  echo "sandbox: $((seconds * speed / 86400)) days, faults $faults, seed $seed"
  "$tapgate" sandbox --for "$seconds" --users 150 --rate 150 --speed "$speed" --seed "$seed" --faults "$faults" 2>/dev/null |
    grep -E '^(approved|declined|doubtful|settled|breaks_open|disagreement|books): '
done
