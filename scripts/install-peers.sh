#!/usr/bin/env bash
# Installs the peers of `make compare`, only where missing: PostgreSQL with pgbench, and Redis.
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null || missing+=(postgresql)
command -v redis-benchmark >/dev/null || missing+=(redis-server redis-tools)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
# No cluster and no service: the comparison starts its own.
"${as_root[@]}" mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
"$(dirname "$0")/install-package.sh" "${missing[@]}"
