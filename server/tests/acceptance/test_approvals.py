"""What an approval answers, what it holds, and what can be seen of it afterwards."""

import json

import pytest

from tapgate import now, sign_v1
from world import LIMIT_PERIOD_SECONDS, World, approval, changes, chf_of, envelope, follow_up, spent, tap


def test_a_crypto_approval_answers_exactly_what_the_interface_says(world):
    user = world.user()
    data = tap(user, 1250)
    response = world.send(data)
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0].strip() == "application/json"
    assert response.json() == {
        "authorizationId": data["authorizationId"],
        "approved": True,
        "source": "CRYPTO",
        "approvedAmount": "1250",
        "currency": "EUR",
        "partnerRefId": data["authorizationId"],
    }


def test_a_crypto_approval_holds_pool_funds_and_limit_once_each(world):
    user = world.user()
    before = world.figures(user)
    world.approve(tap(user, 1250))
    assert changes(before, world.figures(user)) == spent(pool=1250, funds=1250, chf=chf_of(1250, "EUR"))


def test_holds_of_several_approvals_add_up(world):
    user = world.user()
    before = world.figures(user)
    for amount in (1, 999, 12_345):
        world.approve(tap(user, amount))
    chf = sum(chf_of(amount, "EUR") for amount in (1, 999, 12_345))
    assert changes(before, world.figures(user)) == spent(pool=13_345, funds=13_345, chf=chf)


def test_a_zero_amount_authorization_holds_one_unit_until_it_is_reversed(world):
    user = world.user()
    before = world.figures(user)
    data = world.approve(tap(user, 0))
    assert changes(before, world.figures(user)) == spent(pool=1, funds=1, chf=chf_of(1, "EUR"))
    assert world.held(data["authorizationId"])[0] == 1
    world.acknowledge(follow_up("reversal", data, 1), 1)
    assert changes(before, world.figures(user)) == {}


def test_a_zero_amount_authorization_may_be_set_to_hold_nothing(new_server):
    world = World(new_server(config={"decision": {"zero_amount_holds": 0}})).furnished()
    user = world.user()
    before = world.figures(user)
    world.approve(tap(user, 0))
    assert changes(before, world.figures(user)) == {}


def test_a_zero_amount_authorization_goes_through_the_whole_ladder(world):
    world.decline(tap(world.user(card_status="frozen"), 0), "card_frozen")


def test_the_whole_of_every_capacity_can_be_spent(world):
    """Equality is allowed: of the limit as of the funds."""
    user = world.user("CHF", client_limit=5000, funds=5000)
    world.approve(tap(user, 4999))
    world.approve(tap(user, 1))
    profile = world.profile(user)
    assert (profile["limit"]["headroom"], profile["funds"]["available"]) == ("0", "0")


def test_a_limit_window_that_has_ended_counts_as_unused(world):
    ended = now() - LIMIT_PERIOD_SECONDS - 100
    user = world.user("CHF", client_limit=5000, used_limit=5000, limit_started=ended)
    assert world.profile(user)["limit"]["headroom"] == "5000"
    world.approve(tap(user, 5000))


# --- the user's UR fiat balance ------------------------------------------------------------------------------------


def fiat(amount, currency="EUR", allowance=True):
    return [{"currency": currency, "amount": str(amount), "allowance": allowance}]


def test_a_fiat_approval_draws_on_balance_and_limit_but_not_on_pool_and_funds(world):
    user = world.user(funding="fiat", fiat=fiat(5000))
    before = world.figures(user)
    data = world.approve(tap(user, 1250), source="FIAT")
    assert changes(before, world.figures(user)) == spent(chf=chf_of(1250, "EUR"))
    assert world.held(data["authorizationId"]) == (1250, "EUR")
    assert world.authorization(data["authorizationId"])["source"] == "FIAT"


def test_fiat_that_is_held_cannot_be_spent_twice(world):
    user = world.user(funding="fiat", fiat=fiat(2000))
    world.approve(tap(user, 1500), source="FIAT")
    world.decline(tap(user, 501), "insufficient_user_funds")
    world.approve(tap(user, 500), source="FIAT")


def test_crypto_then_fiat_falls_back_to_fiat_only_when_the_funds_do_not_suffice(world):
    user = world.user(funding="crypto_then_fiat", funds=1000, fiat=fiat(5000))
    world.approve(tap(user, 1001), source="FIAT")
    world.approve(tap(user, 1000), source="CRYPTO")


def test_fiat_then_crypto_falls_back_to_crypto_only_when_the_balance_does_not_suffice(world):
    user = world.user(funding="fiat_then_crypto", fiat=fiat(1000))
    world.approve(tap(user, 1001), source="CRYPTO")
    world.approve(tap(user, 1000), source="FIAT")


def test_fiat_without_allowance_falls_back_to_crypto(world):
    user = world.user(funding="fiat_then_crypto", fiat=fiat(5000, allowance=False))
    world.approve(tap(user, 1000), source="CRYPTO")


def test_an_increment_keeps_the_source_of_its_parent(world):
    user = world.user(funding="fiat_then_crypto", fiat=fiat(1000))
    crypto = world.approve(tap(user, 1500), source="CRYPTO")
    # 100 would fit the fiat balance, which the policy prefers.
    world.approve(follow_up("incremental", crypto, 100), source="CRYPTO", root=crypto["authorizationId"])


# --- forms of the request that mean the same -----------------------------------------------------------------------


def test_ur_id_mcc_and_amounts_may_be_integers(world):
    user = world.user()
    data = tap(user, urId=int(user.ur_id), transactionAmount=1250, settlementAmount=1159, mcc=5812)
    world.approve(data)


def test_a_leading_zero_of_an_mcc_survives_as_a_string(world):
    user = world.user()
    world.controls(user, mcc_block=["0742"])
    world.decline(tap(user, mcc="0742"), "mcc_blocked")
    world.approve(tap(user, mcc="7420"))


def test_unknown_fields_are_ignored_at_every_level(world):
    data = tap(world.user())
    data["merchant"]["terminal"] = {"id": "t1", "lanes": [1, 2, 3]}
    data["networkData"] = None
    body = json.loads(envelope(data))
    body["deliveryAttempt"] = 2
    raw = json.dumps(body).encode()
    answer = world.server.post(raw, sign_v1(raw))
    assert (answer.status_code, answer.json()) == (200, approval(data))


def test_absent_optional_fields_are_null(world):
    user = world.user()
    required = ("authorizationId", "urId", "cardId", "transactionAmount", "transactionCurrency")
    data = {name: value for name, value in tap(user).items() if name in required}
    assert world.decide(data) == approval(data)


@pytest.mark.parametrize("channel", ["pos", "contactless", "ecommerce", "recurring", "atm", "other", "hologram", None])
def test_every_channel_is_accepted(world, channel):
    world.approve(tap(world.user(), channel=channel))


def test_an_unknown_channel_counts_as_other(world):
    user = world.user()
    world.controls(user, channel_block=["other"])
    world.decline(tap(user, channel="hologram"), "channel_blocked")
    world.approve(tap(user, channel="pos"))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", None]
)
def test_content_types_that_are_json_or_absent_are_accepted(world, content_type):
    data = tap(world.user())
    body = envelope(data)
    answer = world.server.post(body, sign_v1(body), content_type)
    assert (answer.status_code, answer.json()) == (200, approval(data))


def test_the_longest_id_of_any_printable_ascii_is_accepted(world):
    printable = "".join(map(chr, range(0x21, 0x7F)))
    user = world.user()
    prefix = f"{user.ur_id}"
    world.approve(tap(user, authorizationId=(prefix + printable + "x" * 128)[:128]))


def test_partial_approval_is_not_given_where_it_was_not_asked_for(world):
    user = world.user("CHF", client_limit=1000)
    world.decline(tap(user, 1001, partialApprovalAllowed=False), "limit_exceeded")


def test_partial_approval_is_off_unless_it_is_configured(world):
    user = world.user("CHF", client_limit=1000)
    world.decline(tap(user, 1001, partialApprovalAllowed=True), "limit_exceeded")


def test_partial_approval_gives_what_the_tightest_bound_leaves(new_server):
    world = World(new_server(config={"decision": {"partial_approval": True}})).furnished()
    user = world.user("CHF", client_limit=1000)
    data = tap(user, 1001, partialApprovalAllowed=True)
    answer = world.decide(data)
    assert (answer["approved"], answer["approvedAmount"], answer["responseCode"]) == (True, "1000", "10")
    assert world.authorization(data["authorizationId"])["held"] == {"amount": "1000", "currency": "CHF"}
    world.decline(tap(user, 1, partialApprovalAllowed=True), "limit_exceeded")


# --- the authorization as a resource -------------------------------------------------------------------------------


def test_an_approved_authorization_can_be_read(world):
    data = world.approve(tap(world.user(), 1250))
    seen = world.authorization(data["authorizationId"])
    expected = {
        "authorizationId": data["authorizationId"],
        "type": "authorization",
        "state": "approved",
        "approved": True,
        "source": "CRYPTO",
        "requested": {"amount": "1250", "currency": "EUR"},
        "held": {"amount": "1250", "currency": "EUR"},
    }
    assert {name: seen[name] for name in expected} == expected
    assert int(seen["chf"]) == chf_of(1250, "EUR")
    assert seen.get("reason") is None
    assert {"trace", "counterfactual", "events"} <= set(seen)
    assert seen["events"], "the decision itself is an event"


def test_every_check_of_an_approval_has_passed(world):
    data = world.approve(tap(world.user()))
    trace = world.authorization(data["authorizationId"])["trace"]
    assert len(trace) > 5
    assert all({"check", "passed", "values"} <= set(step) for step in trace)
    assert all(step["passed"] is True for step in trace)


def test_a_declined_authorization_shows_the_check_that_failed_and_what_would_have_passed(world):
    data = world.decline(tap(world.user("CHF", client_limit=1000), 1001), "limit_exceeded")
    seen = world.authorization(data["authorizationId"])
    assert (seen["state"], seen["approved"], seen["reason"]) == ("declined", False, "limit_exceeded")
    assert [step["passed"] for step in seen["trace"]].count(False) == 1
    assert "1000" in json.dumps(seen["counterfactual"]), "it would have been approved up to 1000"
    assert seen["held"] is None or int(seen["held"]["amount"]) == 0


def test_an_authorization_nobody_sent_is_not_found(world):
    assert world.is_unknown("auth_never_sent")
