"""UR's events but the callback: none is refused for its form, and each that tapgate knows has its effect."""

import json
import re

import pytest

from tapgate import error_code, fresh, now, sign_v1, sign_v2
from world import World, envelope, tap


@pytest.fixture(scope="module")
def world(new_server) -> World:
    return World(new_server()).furnished()


def send(world, body: bytes):
    return world.server.post(body, sign_v1(body))


def tell(world, event: str, data, at=None):
    answer = send(world, json.dumps({"event": event, "timestamp": at or now(), "data": data}).encode())
    assert (answer.status_code, answer.text) == (200, '{"received":true}'), (event, data, answer.text)


def movement(user, **changed) -> dict:
    """A row as UR documents it, of a kind that is not tapgate's; a field changed to `...` is left out."""
    row = {
        "urId": user.ur_id, "title": "Café", "subtitle": "", "amount": "-12.50", "type": "CRD", "timestamp": now(),
        "image": "", "currency": "eur", "direction": "OUT", "txHash": fresh("0x"), "status": "completed", "mcc": 5812,
        "reference": "", "partnerRefId": "", "bankAccount": "", "crdCurrency": "EUR",
        "crdMultiToken": [{"token": "EUR24", "amount": "12.50"}],
    }
    return {key: value for key, value in {**row, **changed}.items() if value is not ...}


FORMS = {
    "a card payment from USDC": {"currency": "usdc", "amount": "-1.234567"},
    "another token of three letters": {"currency": "MNT", "amount": "-0.000000000000000012"},
    "a transfer of USDC": {"type": "CTU", "currency": "USDC", "amount": "+0.000012", "direction": "IN"},
    "the token's own name": {"currency": "EUR24"},
    "thousands": {"amount": "-1,234.50"},
    "an empty status": {"status": ""},
    "empty fields": {"txHash": "", "mcc": "", "direction": "", "title": "", "crdCurrency": ""},
    "absent fields": {"txHash": ..., "mcc": ..., "direction": ..., "title": ..., "status": ..., "crdMultiToken": ...},
    "an amount that nobody knows": {"amount": "a lot"},
    "no account": {"urId": ...},
    "an empty object": dict.fromkeys(movement(type("", (), {"ur_id": ""})), ...),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_movement_in_any_form_is_acknowledged(world, form):
    user = world.user()
    tell(world, "transaction", movement(user, **FORMS[form]))
    tell(world, "transaction", movement(user, **FORMS[form]))


def test_ur_freezes_and_unfreezes_a_card(world):
    user = world.user()
    world.approve(tap(user, 100))
    tell(world, "card_status", {"urId": user.ur_id, "cardId": user.card, "status": "frozen"}, at=1_768_659_501)
    world.decline(tap(user, 100), "card_frozen")
    tell(world, "card_status", {"tokenId": int(user.ur_id), "cardTokenId": user.card, "status": 1}, at=1_768_659_502)
    world.approve(tap(user, 100))
    tell(world, "card_status", {"urId": user.ur_id, "cardId": user.card, "status": 0}, at=1_768_659_501)
    world.approve(tap(user, 100))
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "deleted"})
    tell(world, "card_status", {"urId": user.ur_id, "cardId": user.card, "status": "active"})
    world.decline(tap(user, 100), "card_deleted")
    tell(world, "card_status", {"urId": user.ur_id, "cardId": fresh("nobodys"), "status": "active"})


def test_allowances_are_taken_from_their_event(world):
    user = world.user(funding="fiat", fiat=[{"currency": "EUR", "amount": "100000", "allowance": True}])
    allowance = {"tokenSymbol": "EUR24", "hasAllowance": False, "chainId": "eip155:5000"}
    tell(world, "allowance", {"urId": user.ur_id, "allowances": [allowance, {"tokenSymbol": "USDC", "hasAllowance": True}]})
    assert not world.profile(user)["fiat"][0]["allowance"]
    tell(world, "allowance", {"urId": user.ur_id, "allowances": [{**allowance, "hasAllowance": True}]})
    world.approve(tap(user, 100), source="FIAT")


def test_an_unknown_form_is_counted_and_logged_once_without_its_values(world):
    user, secret = world.user(), fresh("secret")
    for _ in range(2):
        tell(world, "card_shipped", {"holder": secret, "address": {secret: 1, "zip4": secret}, "at": [1, 2]})
        tell(world, "card_status", {"cardId": user.card, "status": secret})
        tell(world, "sumsub_kyc_result", {"applicant": secret})
    log = world.server.log_file.read_text()
    assert log.count("card_shipped") == 1 and "zip9: string" in log and "{applicant: string}" in log
    assert secret not in log
    metrics = world.server.metrics()
    assert 'tapgate_events_total{event="unknown"} 2' in metrics
    assert 'tapgate_ur_unreadable_total{path="card_status"} 2' in metrics


def test_a_delivery_that_comes_again_has_no_second_effect(world):
    """Told apart by the request id of its signature, which UR keeps when it repeats one."""

    def unreadable() -> float:
        found = re.search(r'^tapgate_ur_unreadable_total\{path="card_status"\} (.*)$', world.server.metrics(), re.M)
        return float(found[1]) if found else 0.0

    before = unreadable()
    body = envelope({"cardId": world.user().card, "status": "melted"}, event="card_status")
    headers = sign_v2(body)
    for _ in range(3):
        assert world.server.post(body, headers).json() == {"received": True}
    assert unreadable() == before + 1
    assert world.server.post(body, sign_v2(body)).json() == {"received": True}
    assert unreadable() == before + 2, "another delivery of the same words"


@pytest.mark.parametrize("event", ["transaction", "card_status", "never_seen"])
def test_a_field_that_comes_twice_is_refused_and_so_is_what_is_not_json(world, event):
    for data in ('{"urId":"1","urId":"2"}', '{"rows":[{"a":1,"a":1}]}', "{urId:1}"):
        answer = send(world, f'{{"event":"{event}","timestamp":{now()},"data":{data}}}'.encode())
        assert (answer.status_code, error_code(answer)) == (400, "malformed"), (data, answer.text)
