"""A pool that drains: treasury is told of it in order, by every means, whatever the receivers do. It is the sandbox's, whose clock
makes weeks of seconds and whose treasurer forgets one pool until it is empty.
"""

import json
from contextlib import ExitStack

from receivers import FORGET, ROUTING_KEY, SECRET, MailServer, Receiver, now_and_then, slow
from tapgate import eventually
from test_sandbox import Running

# What a receiver may do before it takes what it is sent.
TROUBLE = [500, FORGET, 503, 500, FORGET, 204, 500, FORGET, 204, 500]
WORSE_AND_WORSE = ["notice", "urgent", "critical", "resolved"]
# A cautious treasury, whose levels are days apart: so neither a cut-off nor what one day spends is a jump past one of them. UR takes
# in on every day: which day of the week it is does not matter.
CAUTIOUS = {
    "TAPGATE__TREASURY__WORKING_DAYS": '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]',
    "TAPGATE__TREASURY__LEAD_HOURS": "24",
    "TAPGATE__TREASURY__NOTICE_PROBABILITY": "0.002",
    "TAPGATE__TREASURY__URGENT_PROBABILITY": "0.25",
    "TAPGATE__TREASURY__RENOTIFY_SECONDS": "604800",
}
# It takes a minute where the machine has nothing else to do.
PATIENCE_SECONDS = 300


def toml(settings: dict) -> str:
    """A TOML value: JSON's strings, numbers and arrays are TOML's too."""
    return "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items()) + "}"


def first(do, behave):
    """Does something at the first request: whoever else was to be told waits until then."""

    def once(request):
        if do in waiting:
            waiting.remove(do)
            do()
        return behave(request)

    waiting = [do]
    return once


# --- what each was told of the pool: alerts, and how bad it was said to be


def by_webhook(hook: Receiver) -> list:
    once = {}
    for request in hook.accepted():
        assert once.setdefault(request.id, request).body == request.body, "a repetition is the same message"
    low = [each for each in once.values() if (each.data["kind"], each.data["subject"]) == ("pool_low", "GBP")]
    assert [each.place for each in low] == sorted(each.place for each in low)
    said = {"pool.alert.raised": lambda each: each.data["severity"], "pool.alert.resolved": lambda _: "resolved"}
    return [(f"alert-{each.data['id']}", said[each.type](each)) for each in low]


def by_pager(pager: Receiver) -> list:
    severities = {"info": "notice", "error": "urgent", "critical": "critical"}
    low = [each.json for each in pager.accepted() if is_low(each.json["payload"]["summary"])]
    said = {"trigger": lambda each: severities[each["payload"]["severity"]], "resolve": lambda _: "resolved"}
    return [(each["dedup_key"], said[each["event_action"]](each)) for each in low]


def by_title(title: str) -> str:
    """`[urgent, raised] The GBP pool …` → urgent; a resolution is one, however bad it was."""
    severity, kind = title[1:].split("]")[0].split(", ")
    return "resolved" if kind == "resolved" else severity


def is_low(title: str) -> bool:
    return "GBP pool needs" in title or "GBP pool is empty" in title


def by_mail(server: MailServer) -> list:
    mails = sorted(server.mails(), key=lambda mail: int(mail["Message-ID"].split("_")[1]))
    return [(mail["References"].strip("<").split("@")[0], by_title(mail["Subject"])) for mail in mails if is_low(mail["Subject"])]


def by_chat(chat: Receiver) -> list:
    """A chat shows no alert's name: all of them are one conversation."""
    texts = [each.json["text"] for each in chat.accepted()]
    return [("", by_title(text)) for text in texts if is_low(text)]


def drained(told: list) -> list:
    """The alerts of which all was told, one after another; what was told between them, such as an easing, does not matter."""

    def is_told(alert):
        rest = iter([said for other, said in told if other == alert])
        return all(wanted in rest for wanted in WORSE_AND_WORSE)

    return [alert for alert in dict(told) if is_told(alert)]


def test_a_pool_that_drains_is_told_to_everybody_in_order_whatever_they_do(tmp_path):
    failing, late = Receiver(now_and_then(*TROUBLE)).start(), Receiver()
    chat, pager = Receiver(slow(now_and_then(*TROUBLE))).start(), Receiver(now_and_then(FORGET, 500, then=202)).start()
    mail = MailServer(tmp_path)
    failing.behave = first(late.start, failing.behave)
    events = ["pool.alert.raised", "pool.alert.resolved"]
    hooks = [{"name": name, "url": each.url(), "secret": SECRET, "events": events} for name, each in (("failing", failing), ("late", late))]
    # Hours of the virtual clock are fractions of a second: whoever is down for seconds is not parked.
    environment = {
        **CAUTIOUS,
        "TAPGATE__DELIVER__ALLOW_PRIVATE": "true",
        "TAPGATE__DELIVER__PARK_AFTER_HOURS": "720",
        "TAPGATE__DELIVER__WEBHOOK": f"[{', '.join(map(toml, hooks))}]",
        "TAPGATE__DELIVER__SLACK": f"[{toml({'url': chat.url('/services/T0KEN')})}]",
        "TAPGATE__DELIVER__PAGERDUTY": f"[{toml({'url': pager.url('/'), 'routing_key': ROUTING_KEY})}]",
        "TAPGATE__DELIVER__SMTP": toml(mail.settings()),
    }
    told = {
        "failing": lambda: by_webhook(failing),
        "late": lambda: by_webhook(late),
        "chat": lambda: by_chat(chat),
        "pager": lambda: by_pager(pager),
        "mail": lambda: by_mail(mail),
    }
    with ExitStack() as ends:
        for each in (mail, failing, late, chat, pager):
            ends.callback(each.stop)
        sandbox = Running("--users", 100, "--rate", 90, "--speed", 43_200, "--seed", 3, environment=environment)
        ends.callback(sandbox.process.kill)
        eventually(lambda: all(drained(each()) for each in told.values()), PATIENCE_SECONDS)
        assert sandbox.interrupt()["books"] == "equal"
        told = {name: each() for name, each in told.items()}

    for name, each in told.items():
        assert drained(each), f"{name} was told {each}"
    alert = drained(told["late"])[0]
    story = [said for other, said in told["late"] if other == alert]
    for name in ("failing", "pager", "mail"):
        assert [said for other, said in told[name] if other == alert] == story, f"{name} was told otherwise"
    assert len(failing.seen()) > len(failing.accepted_ids()), "nothing had to be repeated"
