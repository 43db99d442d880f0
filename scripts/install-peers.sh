#!/usr/bin/env bash
# Installs the peers of `make compare`, only where missing: PostgreSQL with pgbench, and Redis.
set -euo pipefail

say() { printf 'install: %s\n' "$*"; }

missing=()
compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null || missing+=(postgresql)
command -v redis-benchmark >/dev/null || missing+=(redis-server redis-tools)
[ ${#missing[@]} -gt 0 ] || exit 0

say "peers missing: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
# No cluster and no service: the comparison starts its own.
"${as_root[@]}" mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
