"""The same id and data get the same bytes for ever; other data under a known id gets a refusal that is not kept."""

import json

import pytest

from tapgate import at_once, fresh, now, sign_v1, sign_v2
from world import NOTHING, approval, changes, envelope, follow_up, spent, tap


def post(world, body: bytes) -> bytes:
    response = world.server.post(body, sign_v1(body))
    assert response.status_code == 200, response.text
    return response.content


def reordered(data):
    """The same object with its keys the other way round, at every level."""
    if isinstance(data, dict):
        return {key: reordered(data[key]) for key in reversed(list(data))}
    return data


def pretty(data) -> bytes:
    body = {"data": reordered(data), "timestamp": now(), "event": "card_authorization"}
    return json.dumps(body, indent=4, ensure_ascii=True).encode()


def with_integers(data) -> bytes:
    return envelope({**data, "urId": int(data["urId"]), "transactionAmount": int(data["transactionAmount"])})


def without_nulls(data) -> bytes:
    return envelope({key: value for key, value in data.items() if value is not None})


SAME_DATA = {
    "the very same bytes": lambda data: envelope(data),
    "a new envelope timestamp": lambda data: envelope(data, now() - 60),
    "other key order, whitespace and escapes": pretty,
    "integers for strings": with_integers,
    "nulls left out": without_nulls,
    "an unknown field more": lambda data: envelope({**data, "attempt": 2}),
}


@pytest.mark.parametrize("repeat", SAME_DATA.values(), ids=SAME_DATA.keys())
def test_the_same_data_gets_the_same_bytes_and_no_second_hold(world, repeat):
    user = world.user()
    data = tap(user, 1250)
    first = post(world, envelope(data))
    before = world.figures(user)
    assert post(world, repeat(data)) == first
    assert changes(before, world.figures(user)) == NOTHING


@pytest.mark.parametrize("repeat", SAME_DATA.values(), ids=SAME_DATA.keys())
def test_a_decline_is_repeated_even_when_it_would_be_approved_by_now(world, repeat):
    user = world.user()
    data = tap(user, 1250)
    world.suspend_user(user)
    first = post(world, envelope(data))
    assert json.loads(first)["reason"] == "user_suspended"
    world.suspend_user(user, False)
    assert post(world, repeat(data)) == first


def test_a_repeat_with_another_signature_version_gets_the_same_bytes(world):
    body = envelope(tap(world.user()))
    assert world.server.post(body, sign_v2(body)).content == post(world, body)


def test_twenty_at_once_get_the_same_bytes_for_one_hold(world):
    user = world.user()
    data = tap(user, 1250)
    bodies = [(body, sign_v1(body)) for body in (envelope(data, now() - age) for age in range(20))]
    before = world.figures(user)
    answers = at_once(lambda signed: world.server.post(*signed), bodies)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json() == approval(data)
    change = changes(before, world.figures(user))
    assert (change["pool.held"], change["funds.held"]) == (1250, 1250)


def test_twenty_at_once_for_money_that_suffices_once_approve_one(world):
    """Not the same id but the same money: the other side of "exactly one hold"."""
    user = world.user("CHF", client_limit=1000, funds=1000)
    bodies = [(body, sign_v1(body)) for body in (envelope(tap(user, 1000)) for _ in range(20))]
    answers = at_once(lambda signed: world.server.post(*signed).json(), bodies)
    assert [answer["approved"] for answer in answers].count(True) == 1
    assert {answer.get("reason") for answer in answers} == {None, "limit_exceeded"}
    assert world.profile(user)["funds"]["available"] == "0"


def test_increments_reversals_and_declines_at_once_have_one_effect_each(world):
    user = world.user("CHF")
    parent = world.approve(tap(user, 1000))
    increment, reversal = follow_up("incremental", parent, 70), follow_up("reversal", parent, 300)
    before = world.figures(user)
    bodies = [(body, sign_v1(body)) for body in (envelope(increment), envelope(reversal)) for _ in range(6)]
    answers = at_once(lambda signed: world.server.post(*signed).content, bodies)
    assert len(set(answers)) == 2
    assert changes(before, world.figures(user)) == spent(pool=-230, funds=-230, chf=370)


OTHER_DATA = {
    "amount": {"transactionAmount": "1251"},
    "currency": {"transactionCurrency": "USD"},
    "type": {"type": "advice", "originalAuthorizationId": "auth_other"},
    "partial approval": {"partialApprovalAllowed": True},
}

DESCRIPTION = {
    "settlement amount of a currency that UR holds": {"settlementAmount": "1"},
    "channel": {"channel": "atm"},
    "merchant": {"merchant": {"id": "m_2", "name": "Café", "mcc": "5812", "city": "Zürich", "country": "CHE"}},
    "no merchant": {"merchant": None},
}


@pytest.mark.parametrize("other", DESCRIPTION.values(), ids=DESCRIPTION.keys())
def test_a_repeat_that_describes_the_tap_otherwise_gets_the_stored_answer(world, other):
    user = world.user()
    data = tap(user, 1250)
    first = post(world, envelope(data))
    before = world.figures(user)
    assert post(world, envelope({**data, **other})) == first
    assert changes(before, world.figures(user)) == NOTHING


@pytest.mark.parametrize("other", OTHER_DATA.values(), ids=OTHER_DATA.keys())
def test_other_data_under_a_known_id_is_a_mismatch_that_is_not_stored(world, other):
    user = world.user()
    data = tap(user, 1250)
    first = post(world, envelope(data))
    before = world.figures(user)
    answer = world.decide({**data, **other})
    assert (answer["approved"], answer["reason"], answer["responseCode"]) == (False, "duplicate_mismatch", "94")
    assert post(world, envelope(data)) == first
    assert world.authorization(data["authorizationId"])["state"] == "approved"
    assert changes(before, world.figures(user)) == NOTHING


def test_another_users_data_under_a_known_id_is_a_mismatch(world):
    user, other = world.user(), world.user()
    data = world.approve(tap(user, 1250))
    world.decline({**data, "urId": other.ur_id, "cardId": other.card}, "duplicate_mismatch")
    assert world.profile(other)["funds"]["held"] == "0"


def test_ids_differ_by_case(world):
    user = world.user()
    name = fresh("auth")
    world.approve(tap(user, 10, authorizationId=name + "a"))
    world.approve(tap(user, 20, authorizationId=name + "A"))


@pytest.mark.parametrize("stop", ["terminate", "kill9"])
def test_answers_are_the_same_bytes_after_a_restart(world, stop):
    user = world.user(client_limit=2000)
    approved, declined = tap(user, 1250), tap(user, 5000)
    late = tap(user, 10)
    reversal = follow_up("reversal", late, 10)
    bodies = [envelope(data) for data in (approved, declined, reversal, late)]
    answers = [post(world, body) for body in bodies]
    before = world.figures(user)
    getattr(world.server, stop)()
    world.server.start()
    assert [post(world, body) for body in bodies] == answers
    assert changes(before, world.figures(user)) == NOTHING
    world.decline({**approved, "transactionAmount": "1251"}, "duplicate_mismatch")
