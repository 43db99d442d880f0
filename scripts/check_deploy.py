"""What no linter knows: that deploy/, docs/runbook/ and docs/metrics.md agree. Run by check-deploy.sh."""

import argparse
import json
import re
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
RUNBOOK = ROOT / "docs" / "runbook"
METRICS = ROOT / "docs" / "metrics.md"
SECTIONS = ("What it means for card holders", "The first five minutes", "What not to do", "How it resolves")
SEVERITIES = ("critical", "warning")
# What Prometheus derives from a histogram.
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")
# Grafana fills these in before Prometheus sees a query.
GRAFANA_VARIABLES = {"$__rate_interval": "5m", "$instance": ".*", "$currency": ".*"}

problems = []


def expect(holds, message):
    if not holds:
        problems.append(message)


def load_yaml(path):
    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except YAMLError as error:
        problems.append(f"{path.relative_to(ROOT)} is not YAML: {error}")
        return None


def documented():
    """Metric name → the labels that its row lists."""
    rows = re.findall(r"^\| `(tapgate_\w+)` \| \w+ \| [^|]+ \| ([^|]+) \|", METRICS.read_text(), re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def check_metrics(expression, where, metrics, recorded=()):
    for name in re.findall(r"\btapgate_\w+", expression):
        base = HISTOGRAM_SUFFIX.sub("", name)
        expect(name in metrics or base in metrics, f"{where}: the metric {name} is not in docs/metrics.md")
    for name in re.findall(r"\btapgate:[\w:]+", expression):
        expect(name in recorded, f"{where}: {name} is recorded nowhere in alerts.yml")
    # Every metric's matchers name labels that it has; job and instance come from Prometheus.
    for name, matchers in re.findall(r"\b(tapgate_\w+)\{([^}]*)\}", expression):
        labels = metrics.get(name) or metrics.get(HISTOGRAM_SUFFIX.sub("", name)) or set()
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            known = label in labels | {"job", "instance", "le"}
            expect(known, f"{where}: {name} has no label {label} in docs/metrics.md")


def check_alerts(metrics):
    groups = (load_yaml(DEPLOY / "prometheus" / "alerts.yml") or {}).get("groups", [])
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    alerts = [rule for rule in rules if "alert" in rule]
    names = [rule["alert"] for rule in alerts]
    expect(len(set(names)) == len(names), "alerts.yml: an alert's name is given twice")
    for rule in rules:
        check_metrics(rule["expr"], f"alerts.yml, {rule.get('alert') or rule['record']}", metrics, recorded)
    index = (RUNBOOK / "README.md").read_text()
    for rule in alerts:
        name, annotations = rule["alert"], rule.get("annotations", {})
        severity = rule.get("labels", {}).get("severity")
        expect(severity in SEVERITIES, f"alerts.yml, {name}: severity must be one of {', '.join(SEVERITIES)}")
        for key in ("summary", "description"):
            expect(annotations.get(key), f"alerts.yml, {name}: the annotation {key} is missing")
        page = f"docs/runbook/{name}.md"
        expect(annotations.get("runbook_url") == page, f"alerts.yml, {name}: runbook_url must be {page}")
        if not (ROOT / page).is_file():
            problems.append(f"alerts.yml, {name}: there is no page {page}")
            continue
        text = (ROOT / page).read_text()
        headings = re.findall(r"^## (.+)$", text, re.M)
        expect(tuple(headings) == SECTIONS, f"{page}: its sections must be {', '.join(SECTIONS)}")
        expect(f"({severity}:" in text, f"{page}: the alert's severity is {severity}, the page says otherwise")
        row = f"| [{name}]({name}.md) | {severity} |"
        expect(row in index, f"docs/runbook/README.md: the index has no row {row}")
    for page in RUNBOOK.glob("Tapgate*.md"):
        expect(page.stem in names, f"docs/runbook/{page.name}: there is no such alert")
    check_tests(names)


def check_tests(names):
    """Every alert is expected to fire in some test; that it is silent elsewhere, each test says by leaving it out."""
    tests = (load_yaml(DEPLOY / "prometheus" / "alerts_test.yml") or {}).get("tests", [])
    fires = set()
    for test in tests:
        for query in test.get("promql_expr_test", []):
            expect("count by" in query["expr"], f"alerts_test.yml, {test['name']}: a query must count every alert")
            for sample in query["exp_samples"]:
                fires.update(re.findall(r'alertname="(\w+)"', sample["labels"]))
    for name in sorted(set(names) - fires):
        problems.append(f"alerts_test.yml: no test lets {name} fire")
    for name in sorted(fires - set(names)):
        problems.append(f"alerts_test.yml: {name} is no alert of alerts.yml")


def check_dashboard(metrics, rules_file):
    path = DEPLOY / "grafana" / "tapgate.json"
    try:
        dashboard = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        problems.append(f"deploy/grafana/tapgate.json is not JSON: {error}")
        rules_file.write_text('{"groups":[]}')
        return
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    expect(len(set(ids)) == len(ids), "grafana/tapgate.json: two panels have one id")
    places = set()
    rules = []
    for panel in panels:
        where = f"grafana/tapgate.json, {panel['title']}"
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        expect(not cells & places, f"{where}: lies over another panel")
        expect(place["x"] + place["w"] <= 24, f"{where}: is wider than the dashboard's 24 columns")
        places |= cells
        expect(panel.get("description"), f"{where}: has no description")
        expect(panel["targets"], f"{where}: has no query")
        for target in panel["targets"]:
            check_metrics(target["expr"], where, metrics)
            query = target["expr"]
            for variable, value in GRAFANA_VARIABLES.items():
                query = query.replace(variable, value)
            expect("$" not in query, f"{where}: unknown variable in {target['expr']}")
            # promtool refuses two rules of one name and labels.
            rules.append({"record": "dashboard:query", "expr": query, "labels": {"number": str(len(rules))}})
    rules_file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))


def check_image_and_compose():
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    toolchain = re.search(r'^channel = "(.+)"', (ROOT / "rust-toolchain.toml").read_text(), re.M).group(1)
    expect(
        f"ARG RUST_VERSION={toolchain}\n" in dockerfile,
        f"Dockerfile: RUST_VERSION must be {toolchain}, as rust-toolchain.toml says",
    )
    expect(
        re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.M), "Dockerfile: USER must be a number other than root's"
    )
    unit = (DEPLOY / "tapgate.service").read_text()
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    compose = load_yaml(DEPLOY / "compose.yaml")
    if compose is None:
        return
    services = compose["services"]
    grace = services["tapgate"].get("stop_grace_period")
    expect(
        seconds and grace == f"{seconds.group(1)}s",
        f"compose.yaml: stop_grace_period {grace} is not tapgate.service's TimeoutStopSec",
    )
    ignored = (DEPLOY / ".gitignore").read_text().split()
    for kind in ("configs", "secrets"):
        declared = compose.get(kind, {})
        for name, source in declared.items():
            path = source["file"]
            of_the_operator = any(f"/{path[2:]}".startswith(entry) for entry in ignored)
            expect((DEPLOY / path).is_file() or of_the_operator, f"compose.yaml: {kind}.{name}: there is no {path}")
        for service, settings in services.items():
            for used in settings.get(kind, []):
                expect(
                    used["source"] in declared,
                    f"compose.yaml: {service} uses {kind} {used['source']}, which is not declared",
                )
    for name, service in services.items():
        expect(service.get("read_only") is True, f"compose.yaml: {name} must have a read-only root")
        expect(
            "no-new-privileges:true" in service.get("security_opt", []),
            f"compose.yaml: {name} must have no-new-privileges",
        )
        expect(service.get("cap_drop") == ["ALL"], f"compose.yaml: {name} must drop all capabilities")
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"compose.yaml: {name} publishes {port} to every network")
        for volume in service.get("volumes", []):
            expect(volume["source"] in compose["volumes"], f"compose.yaml: {name}: no volume {volume['source']}")


def anchors(path):
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links():
    for page in [*RUNBOOK.glob("*.md"), DEPLOY / "README.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            file, _, anchor = target.partition("#")
            path = page.parent / file if file else page
            where = page.relative_to(ROOT)
            expect(path.exists(), f"{where}: links to {target}, which is not there")
            if anchor and path.is_file():
                expect(anchor in anchors(path), f"{where}: links to {target}, and there is no such heading")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument(
        "--dashboard-rules", type=Path, required=True, help="where the dashboard's queries go, as rules"
    )
    rules_file = arguments.parse_args().dashboard_rules
    metrics = documented()
    expect(metrics, "docs/metrics.md: its table of metrics was not found")
    check_alerts(metrics)
    check_dashboard(metrics, rules_file)
    check_image_and_compose()
    check_links()
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


main()
