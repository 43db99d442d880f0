"""Another wire form of the callback, by the mapping that ships as an example."""

import json
import tomllib
from pathlib import Path

import pytest

from tapgate import fresh, sign_v1, sign_v2
from world import World, tap

EXAMPLES = Path(__file__).parents[3] / "deploy" / "callback"


@pytest.fixture(scope="module")
def world(new_server):
    example = tomllib.loads((EXAMPLES / "fiat24.toml").read_text())["ur"]
    callback = example["callback"]
    settings = {key: value for key, value in callback.items() if not isinstance(value, dict)}
    settings["sample_file"] = str(EXAMPLES / "fiat24.json")
    config = {
        "ur": {"require_v2": example["require_v2"]},
        "ur.callback": settings,
        "ur.callback.fields": callback["fields"],
        "ur.callback.types": callback["types"],
    }
    return World(new_server(config=config)).furnished()


def callback(user, kind, amount, original=None, **fields):
    data = tap(user, amount)
    fiat24 = {
        "kind_": kind,
        "authorizationToken_": fresh("token"),
        "originalAuthorizationToken_": original,
        "tokenId_": data["urId"],
        "cardId_": data["cardId"],
        "transactionCurrency_": "EUR",
        "transactionAmount_": amount,
    }
    return fiat24 | fields


def ask(world, body, sign=sign_v2):
    raw = json.dumps(body).encode()
    return world.server.post(raw, sign(raw))


def test_a_callback_of_another_form_is_decided_and_answered_in_that_form(world):
    user = world.user()
    asked = callback(user, "authorise", 1_250)
    answer = ask(world, asked)
    expected = {"authorizationToken_": asked["authorizationToken_"], "approved": True, "paidAmount_": "1250"}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert ask(world, asked).content == answer.content, "a repeat"
    assert world.held(asked["authorizationToken_"])[0] == 1_250
    back = callback(user, "reverse", 1_250, original=asked["authorizationToken_"])
    assert ask(world, back).json()["paidAmount_"] == "1250"
    assert world.held(asked["authorizationToken_"])[0] == 0


def test_a_decline_has_the_other_template(world):
    asked = callback(world.user(card_status="frozen"), "authorise", 1_250)
    declined = {"authorizationToken_": asked["authorizationToken_"], "approved": False, "responseCode": "62", "reason": "card_frozen"}
    assert ask(world, asked).json() == declined


def test_what_the_mapping_cannot_read_is_refused_and_events_are_read_as_ever(world):
    user = world.user()
    assert ask(world, callback(user, "refund", 10)).status_code == 400
    assert ask(world, callback(user, "authorise", "1.5")).status_code == 400
    assert ask(world, callback(user, "authorise", 10), sign=sign_v1).status_code == 401, "its signature has no time"
    event = {"event": "unheard_of", "timestamp": 1, "data": {}}
    assert (ask(world, event).status_code, ask(world, event).json()) == (200, {"received": True})
