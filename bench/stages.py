"""The table of a traced run: pure, so that bench/tests can hold it to account."""

# The least of the slowest's time that the stages must explain.
EXPLAINED_MIN = 80


# Of a burst; those who were due at its end wait some time longer.
SPAN_MICROS = 100_000


def bursts(said: dict, jobs: list) -> str:
    """When, from the first on, most of the slow ones were due, what they waited for, and what the store did in its background meanwhile."""
    lines = ["| second | slow | mostly | meanwhile |", "|---|---|---|---|"]
    for burst in said["bursts"]:
        at = burst["unix_micros"]
        meanwhile = {job.name for job in jobs if job.began < at + 2 * SPAN_MICROS and job.ended >= at}
        told = ", ".join(sorted(meanwhile))
        second = (at - said["first_unix_micros"]) / 1e6
        lines.append(f"| {second:.1f} | {burst['slow']} | {burst['stage']} | {told} |")
    return "\n".join(lines)


def stages(name: str, said: dict) -> str:
    """The table of one traced run."""
    lines = [
        f"{name}: {said['callbacks']:,} callbacks; of the slowest {said['slowest']:,} the stages explain "
        f"{said['explained_percent']:.1f} % (asked: {EXPLAINED_MIN}), {said['outside_percent']:.1f} % where the server's own "
        f"clock does not reach; they were due in {said['windows_with_slow']} of {said['windows']} spans of 100 ms.",
        "",
        "| µs | mean | p50 | p99 | p99.9 | slowest 1 %: mean | p99 | share |",
        "|---|---|---|---|---|---|---|---|",
    ]
    within = [{**line, "name": f"· {line['name']}"} for line in said["within"]]
    # What lies within comes after the stage that it ends with.
    at = next(number for number, line in enumerate(said["stages"]) if "decided" in line["name"]) + 1
    for line in (said["latency"], *said["stages"][:at], *within, *said["stages"][at:]):
        of_all = " | ".join(f"{line['all'][key]:,.1f}" for key in ("mean_us", "p50_us", "p99_us", "p999_us"))
        of_slowest = " | ".join(f"{line['slowest'][key]:,.1f}" for key in ("mean_us", "p99_us"))
        lines.append(f"| {line['name']} | {of_all} | {of_slowest} | {line['share_percent']:.1f} % |")
    return "\n".join(lines)
