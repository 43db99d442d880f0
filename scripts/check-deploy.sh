#!/usr/bin/env bash
# Checks what an operator takes from deploy/ and docs/runbook/ without starting anything: the systemd unit, Prometheus'
# configuration, rules and their tests, the dashboard, the Dockerfile, compose.yaml, and that all of them agree with each
# other and with docs/metrics.md. Says everything that is wrong, not only the first thing; exit code 1 if anything is.
#
# Tools that are not on PATH come from apt and PyPI into target/tools: nothing is installed, no service is started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# systemd's rating of what the unit may do, in tenths: 0 is nothing, 100 everything. It stands at 11.
exposure_max=15

say() { printf 'check-deploy: %s\n' "$*"; }
give_up() { say "$*" >&2; exit 1; }

check() { # check WHAT COMMAND...: its output is shown only when it fails
  local what=$1 started=$SECONDS
  shift
  if "$@" >"$work/output" 2>&1 </dev/null; then
    say "$what: ok ($((SECONDS - started)) s)"
  else
    failures=$((failures + 1))
    say "$what: FAILED" >&2
    sed 's/^/    /' "$work/output" >&2
  fi
}

unpack() { # unpack NAME PACKAGE...: Debian packages under target/tools/NAME, without installing them
  local name=$1
  shift
  [ ! -e "$tools/$name" ] || return 0
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    give_up "$name is not on PATH and there is no apt here to take it from ($*); install it and try again"
  say "unpacking $* into $tools/$name"
  mkdir -p "$work/$name/root"
  (
    cd "$work/$name"
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    # A machine that was never updated has no package lists yet. As root apt would change to a user who may not write here.
    download=(apt-get -q -o APT::Sandbox::User=root download "$@")
    "${download[@]}" >apt.log 2>&1 ||
      { "${as_root[@]}" apt-get -q update >>apt.log 2>&1 && "${download[@]}" >>apt.log 2>&1; } ||
      { cat apt.log >&2; give_up "apt-get could not download $*"; }
    for package in *.deb; do dpkg -x "$package" root; done
  ) </dev/null
  mkdir -p "$tools"
  mv "$work/$name/root" "$tools/$name"
}

python_tools() { # the pinned parser and linter of scripts/tools/deploy-checks.txt
  local pin=scripts/tools/deploy-checks.txt
  cmp -s "$pin" "$tools/deploy-checks/pin" && return 0
  say "installing the tools of $pin into $tools/deploy-checks"
  python3 -m venv --clear "$tools/deploy-checks"
  "$tools/deploy-checks/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement "$pin" || give_up "pip could not install $pin"
  cp "$pin" "$tools/deploy-checks/pin"
}

promtool=$(command -v promtool) || { unpack promtool prometheus; promtool=$tools/promtool/usr/bin/promtool; }
if command -v systemd-analyze >/dev/null; then
  analyze=(systemd-analyze)
else
  unpack systemd systemd libsystemd-shared
  libraries=$(dirname "$(find "$tools/systemd" -name 'libsystemd-shared-*.so' | head -n 1)")
  analyze=(env "LD_LIBRARY_PATH=$libraries" "SYSTEMD_UNIT_PATH=$tools/systemd/lib/systemd/system"
    "$tools/systemd/usr/bin/systemd-analyze")
fi
python_tools

# systemd looks for the program that a unit starts, and tapgate is not installed here.
sed 's#/usr/local/bin/tapgate#/bin/true#' deploy/tapgate.service >"$work/tapgate.service"
verify_unit() { # a setting that systemd does not know is only a warning to it; here it is an error
  local said
  said=$("${analyze[@]}" verify --man=no "$work/tapgate.service" 2>&1) || { printf '%s\n' "$said"; return 1; }
  [ -z "$said" ] || { printf '%s\n' "$said"; return 1; }
}
check "tapgate.service: systemd-analyze verify" verify_unit
check "tapgate.service: exposure at most $exposure_max" \
  "${analyze[@]}" security --offline=true --threshold="$exposure_max" "$work/tapgate.service"
check "Dockerfile: hadolint" "$tools/deploy-checks/bin/hadolint" deploy/Dockerfile
check "prometheus.yml: promtool check config" "$promtool" check config deploy/prometheus/prometheus.yml
check "alerts.yml: promtool check rules" "$promtool" check rules deploy/prometheus/alerts.yml
check "alerts_test.yml: promtool test rules" "$promtool" test rules deploy/prometheus/alerts_test.yml
check "agreement of alerts, runbook, dashboard, image and metrics" \
  "$tools/deploy-checks/bin/python" scripts/check_deploy.py --dashboard-rules "$work/dashboard.yml"
check "grafana/tapgate.json: promtool reads its queries" "$promtool" check rules "$work/dashboard.yml"

[ "$failures" -eq 0 ] || give_up "$failures of the checks failed"
say "all passed in $SECONDS s"
