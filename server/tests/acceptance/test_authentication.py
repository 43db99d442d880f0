"""Only UR may ask. Whatever is not signed by UR gets 401, changes nothing and leaves the id free."""

import pytest

from tapgate import (
    SECOND_UR_KEY,
    STRANGER_KEY,
    UR_KEY,
    error_code,
    fresh,
    malleated,
    now,
    sign,
    sign_v1,
    sign_v2,
)
from world import NOTHING, World, approval, changes, envelope, follow_up, tap

STALE_SECONDS = 301 + 30  # The window is 300 s; the rest is for a slow test machine.


# --- accepted ------------------------------------------------------------------------------------------------------


def v_as_zero_or_one(body):
    signature = sign(body)
    return {"X-Api-Signature": signature[:-2] + {"1b": "00", "1c": "01"}[signature[-2:]]}


ACCEPTED = {
    "V1": sign_v1,
    "V1 by the second configured signer": lambda body: sign_v1(body, SECOND_UR_KEY),
    "V1 with v as 0 or 1": v_as_zero_or_one,
    "V1 with the public key as a hint": lambda body: {**sign_v1(body), "X-Api-PublicKey": UR_KEY.address},
    "V1 with lower-case header": lambda body: {"x-api-signature": sign(body)},
    "V2 alone": sign_v2,
    "V2 and V1": lambda body: {**sign_v1(body), **sign_v2(body)},
    "V2 with a timestamp within the window": lambda body: sign_v2(body, now() - 200),
}


@pytest.mark.parametrize("headers", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_ur_signed_is_accepted(world, headers):
    data = tap(world.user())
    body = envelope(data)
    answer = world.server.post(body, headers(body))
    assert (answer.status_code, answer.json()) == (200, approval(data))


def test_the_signature_is_over_the_raw_bytes_however_they_are_written(world):
    """Whitespace, a trailing newline and non-ASCII text: nothing is normalised before verification."""
    data = tap(world.user())
    body = b"\n  " + envelope(data).replace(b": ", b" :\t") + b"\r\n"
    answer = world.server.post(body, sign_v1(body))
    assert (answer.status_code, answer.json()) == (200, approval(data))


@pytest.mark.parametrize("age", [-200, 200])
def test_timestamps_within_the_window_are_accepted(world, age):
    body = envelope(tap(world.user()), now() - age)
    assert world.server.post(body, sign_v1(body)).status_code == 200


# --- refused -------------------------------------------------------------------------------------------------------


def altered(body):
    """A valid signature of a body that asked for one unit less."""
    return sign_v1(body.replace(b'"1250"', b'"1249"'))


def high_s(body):
    return {"X-Api-Signature": malleated(sign(body))}


def flipped_bit(body):
    signature = sign(body)
    return {"X-Api-Signature": signature[:10] + format(int(signature[10], 16) ^ 1, "x") + signature[11:]}


def v2_with(body, **headers):
    return {**sign_v2(body), **{name.replace("_", "-"): value for name, value in headers.items()}}


def v2_without(body, *names):
    return {name: value for name, value in sign_v2(body).items() if name not in names}


def v2_for_another_delivery(body):
    return {**sign_v2(body), "X-Webhook-Request-Id": fresh("delivery")}


def v2_for_another_time(body):
    return {**sign_v2(body, now() - 10), "X-Webhook-Timestamp": str(now())}


def v2_malleated(body):
    headers = sign_v2(body)
    return {**headers, "X-Api-Signature-V2": malleated(headers["X-Api-Signature-V2"])}


def partner_style(body):
    """How the partner signs its own requests; not how UR signs webhooks."""
    deadline = str(now() + 100)
    return {"X-Api-Signature": sign(body + b" " + deadline.encode()), "X-Api-Deadline": deadline}


REFUSED = {
    "no header": lambda body: {},
    "an empty signature": lambda body: {"X-Api-Signature": ""},
    "not hex": lambda body: {"X-Api-Signature": "0x" + "zz" * 65},
    "too short": lambda body: {"X-Api-Signature": sign(body)[:-2]},
    "too long": lambda body: {"X-Api-Signature": sign(body) + "00"},
    "all zero": lambda body: {"X-Api-Signature": "0x" + "00" * 65},
    "all ones": lambda body: {"X-Api-Signature": "0x" + "ff" * 65},
    "an unknown v": lambda body: {"X-Api-Signature": sign(body)[:-2] + "1d"},
    "a flipped bit": flipped_bit,
    "malleated, high s": high_s,
    "an altered body": altered,
    "a wrong signer": lambda body: sign_v1(body, STRANGER_KEY),
    "a wrong signer who claims to be UR": lambda body: {
        **sign_v1(body, STRANGER_KEY),
        "X-Api-PublicKey": UR_KEY.address,
    },
    "a wrong signer with his own address": lambda body: {
        **sign_v1(body, STRANGER_KEY),
        "X-Api-PublicKey": STRANGER_KEY.address,
    },
    "the partner's form": partner_style,
    "V2 holding the V1 signature": lambda body: v2_with(body, X_Api_Signature_V2=sign(body)),
    "V2 by a wrong signer": lambda body: sign_v2(body, key=STRANGER_KEY),
    "V2 malleated": v2_malleated,
    "V2 for another delivery": v2_for_another_delivery,
    "V2 for another time": v2_for_another_time,
    "V2 without its timestamp": lambda body: v2_without(body, "X-Webhook-Timestamp"),
    "V2 without its request id": lambda body: v2_without(body, "X-Webhook-Request-Id"),
    "V2 with a timestamp that is none": lambda body: sign_v2(body, "yesterday"),
    "V2 signature sent as V1": lambda body: {"X-Api-Signature": sign_v2(body)["X-Api-Signature-V2"]},
    "good V1 and V2 by a wrong signer": lambda body: {**sign_v1(body), **sign_v2(body, key=STRANGER_KEY)},
    "good V1 and garbage V2": lambda body: {**sign_v1(body), **v2_with(body, X_Api_Signature_V2="0x00")},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_what_ur_did_not_sign_is_refused_without_effect(world, headers):
    user = world.user()
    data = tap(user, 1250)
    body = envelope(data)
    before = world.figures(user)
    answer = world.server.post(body, headers(body))
    assert answer.status_code == 401, answer.text
    assert error_code(answer) != "stale_timestamp"
    assert_no_effect(world, user, data, before)


STALE = {
    "V1, too old": lambda data: signed(sign_v1, envelope(data, now() - STALE_SECONDS)),
    "V1, too far ahead": lambda data: signed(sign_v1, envelope(data, now() + STALE_SECONDS)),
    "V1, the epoch": lambda data: signed(sign_v1, envelope(data, 0)),
    "V2, header too old": lambda data: signed(lambda body: sign_v2(body, now() - STALE_SECONDS), envelope(data)),
    "V2, header too far ahead": lambda data: signed(lambda body: sign_v2(body, now() + STALE_SECONDS), envelope(data)),
    "V2, envelope too old": lambda data: signed(sign_v2, envelope(data, now() - STALE_SECONDS)),
    "good V1, stale V2": lambda data: signed(
        lambda body: {**sign_v1(body), **sign_v2(body, now() - STALE_SECONDS)}, envelope(data)
    ),
}


def signed(signature, body):
    return body, signature(body)


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE.keys())
def test_what_ur_signed_long_ago_is_stale_and_without_effect(world, stale):
    user = world.user()
    data = tap(user, 1250)
    before = world.figures(user)
    answer = world.server.post(*stale(data))
    assert (answer.status_code, error_code(answer)) == (401, "stale_timestamp")
    assert_no_effect(world, user, data, before)


def test_a_return_is_taken_at_any_age(world):
    user = world.user()
    parent = world.approve(tap(user, 1250))
    body = envelope(follow_up("reversal", parent, 1250), now() - 3 * STALE_SECONDS)
    answer = world.server.post(body, sign_v1(body))
    assert (answer.status_code, answer.json()["approvedAmount"]) == (200, "1250")


def assert_no_effect(world, user, data, before):
    assert changes(before, world.figures(user)) == NOTHING
    assert world.is_unknown(data["authorizationId"])
    # The id is still free: UR itself may use it.
    world.approve(data)


def test_a_forged_reversal_gives_nothing_back(world):
    user = world.user()
    parent = world.approve(tap(user, 1250))
    before = world.figures(user)
    body = envelope(follow_up("reversal", parent, 1250))
    assert world.server.post(body, sign_v1(body, STRANGER_KEY)).status_code == 401
    assert changes(before, world.figures(user)) == NOTHING


def test_a_forged_repeat_of_a_known_id_does_not_get_the_stored_answer(world):
    data = world.approve(tap(world.user()))
    body = envelope(data)
    answer = world.server.post(body, sign_v1(body, STRANGER_KEY))
    assert answer.status_code == 401
    assert data["authorizationId"] not in answer.text


# --- events that are no authorizations -----------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["sumsub_kyc_result", "made_up_event"])
@pytest.mark.parametrize("age", [0, 86_400], ids=["fresh", "a day old"])
def test_other_events_are_acknowledged_at_any_age(world, event, age):
    """A retry after an outage must not be refused for ever; these are idempotent."""
    body = envelope({"anything": 1}, now() - age, event)
    assert world.server.post(body, sign_v1(body)).status_code == 200


def test_other_events_need_a_signature_too(world):
    body = envelope({"anything": 1}, event="made_up_event")
    assert world.server.post(body, sign_v1(body, STRANGER_KEY)).status_code == 401


# --- a configuration that demands V2 -------------------------------------------------------------------------------


def test_where_v2_is_required_v1_alone_does_not_suffice(new_server):
    world = World(new_server(config={"ur": {"require_v2": True}})).furnished()
    user = world.user()
    data = tap(user)
    body = envelope(data)
    refused = world.server.post(body, sign_v1(body))
    assert refused.status_code == 401
    error_code(refused)
    accepted = world.server.post(body, sign_v2(body))
    assert (accepted.status_code, accepted.json()) == (200, approval(data))
