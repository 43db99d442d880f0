"""Users, funds, cards, controls and single authorizations through the admin API."""

import json

import pytest

from tapgate import error_code, eventually, fresh, now
from world import NOTHING, World, changes, follow_up, spent, tap, user_line, user_of

# --- import --------------------------------------------------------------------------------------------------------


def test_an_imported_user_reads_as_imported(world):
    started = now() - 1000
    fiat = [{"currency": "EUR", "amount": "700", "allowance": True}]
    user = world.user(client_limit=5000, used_limit=1200, limit_started=started, funds=800, fiat=fiat, cards=2)
    profile = world.profile(user)
    assert (profile["status"], profile["suspended"]) == ("live", False)
    limit = {"usedLimit": "1200", "clientLimit": "5000", "startLimitDate": started, "unreflected": "0"}
    assert profile["limit"] == {**limit, "headroom": "3800"}
    funds = {"amount": "800", "held": "0", "available": "800", "currency": "EUR", "version": 0}
    assert profile["funds"] == funds
    (balance,) = profile["fiat"]
    assert {name: balance[name] for name in ("currency", "amount", "allowance")} == fiat[0]
    assert [card["cardId"] for card in profile["cards"]] == list(user.cards)
    assert all((card["status"], card["currency"]) == ("active", "EUR") for card in profile["cards"])
    assert {"controls", "holds"} <= set(profile)


def test_bad_lines_of_an_import_are_reported_by_number_and_the_good_ones_taken(world):
    good = [user_line() for _ in range(3)]
    lines = [
        json.dumps(good[0]),
        "this is not JSON",
        json.dumps(good[1]),
        json.dumps({**user_line(), "status": "lively"}),
        json.dumps({**user_line(), "funds": {"amount": "1.5", "currency": "EUR"}}),
        json.dumps(good[2]),
    ]
    result = world.import_raw("\n".join(lines).encode())
    assert result["imported"] == 3
    assert [rejected["line"] for rejected in result["rejected"]] == [2, 4, 5]
    assert all(rejected["error"] for rejected in result["rejected"])
    for line in good:
        world.approve(tap(user_of(line)))


def test_an_import_of_a_thousand_users_takes_them_all(world):
    lines = [user_line() for _ in range(1000)]
    assert world.import_lines(*lines) == {"imported": 1000, "rejected": []}
    for line in (lines[0], lines[499], lines[999]):
        world.approve(tap(user_of(line)))


def test_importing_again_replaces_figures_and_keeps_holds(world):
    line = user_line(funds=5000)
    world.import_lines(line)
    user = user_of(line)
    held = world.approve(tap(user, 1250))
    world.import_lines({**line, "funds": {"amount": "9000", "currency": "EUR"}, "status": "soft_blocked"})
    profile = world.profile(user)
    assert profile["status"] == "soft_blocked"
    funds = {"amount": "9000", "held": "1250", "available": "7750", "currency": "EUR", "version": 0}
    assert profile["funds"] == funds
    assert world.held(held["authorizationId"]) == (1250, "EUR")
    world.decline(tap(user), "account_soft_blocked")


def test_importing_again_replaces_the_cards(world):
    line = user_line(cards=2)
    world.import_lines(line)
    user = user_of(line)
    world.import_lines({**line, "cards": line["cards"][1:]})
    world.approve(tap(user, cardId=user.cards[1]))
    answer = world.decide(tap(user, cardId=user.cards[0]))
    assert answer["reason"] in ("unknown_card", "card_deleted")


# --- what names a person ---------------------------------------------------------------------------------------------


def holds(server, text: str) -> bool:
    """Whether any file of the server's directory, its log included, holds the text."""
    return any(text.encode() in file.read_bytes() for file in server.directory.rglob("*") if file.is_file())


def test_what_names_a_person_is_in_no_record_and_leaves_every_file_once_erased(new_server):
    server = new_server()
    world = World(server).furnished()
    secrets = [fresh("customer"), fresh("Wilhelmina"), fresh("Aloysius")]
    line = {**user_line(), "externalId": secrets[0], "label": secrets[1]}
    other = {**user_line(), "label": secrets[2]}
    thief = {**other, "cards": line["cards"], "label": fresh("Mallory")}
    hidden = {**user_line(), "label": fresh("Ann") + "\u202e"}
    result = world.import_raw("\n".join(map(json.dumps, [line, other, thief, hidden])).encode())
    assert result["imported"] == 2 and [rejected["line"] for rejected in result["rejected"]] == [3, 4]
    assert "another user" in result["rejected"][0]["error"] and result["rejected"][1]["error"].startswith("label: ")
    user, path = user_of(line), f"/api/v1/users/{line['urId']}"
    world.approve(tap(user))
    world.import_lines({**line, "label": None}, {**user_line(), "cards": []})

    def names(of) -> tuple:
        profile = server.admin_ok("GET", f"/api/v1/users/{of['urId']}")
        return profile["externalId"], profile["label"]

    server.restart()
    assert (names(line), names(other)) == ((secrets[0], secrets[1]), (None, secrets[2]))
    records = server.admin("GET", "/api/v1/journal?from=1", role="viewer").text
    assert line["urId"] in records and not any(secret in records for secret in secrets)
    # A row, and nothing else: a deletion alone would leave these bytes.
    assert all(holds(server, secret) for secret in secrets)

    for role in ("viewer", "treasurer"):
        assert server.admin("DELETE", f"{path}/person", role=role).status_code == 403
    for _ in range(2):
        erased = server.admin_ok("DELETE", f"{path}/person")
        assert erased == {"urId": line["urId"], "externalId": None, "label": None}
        assert (names(line), names(other)) == ((None, None), (None, secrets[2]))
        assert not holds(server, secrets[0]) and not holds(server, secrets[1])
    assert world.profile(user)["holds"], "everything but the name stays"
    assert error_code(server.admin("DELETE", "/api/v1/users/nobody/person")) == "not_found"
    erasures = server.admin("GET", "/api/v1/journal?from=1", role="viewer").text.count('"person_erased"')
    assert erasures == 2, "who erased, and when, is in the journal"
    server.terminate()
    server.wait_for_exit_0()
    assert not holds(server, secrets[0]) and not holds(server, secrets[1]) and holds(server, secrets[2])


# --- funds ---------------------------------------------------------------------------------------------------------


def put_funds(world, user, amount, version, debited=(), currency="EUR"):
    body = {"amount": str(amount), "currency": currency, "version": version, "debited": list(debited)}
    return world.server.admin("PUT", f"/api/v1/users/{user.ur_id}/funds", body)


def test_new_funds_replace_old_ones_and_keep_holds(world):
    user = world.user(funds=1000)
    world.approve(tap(user, 600))
    assert put_funds(world, user, 2000, 1).status_code == 200
    funds = world.profile(user)["funds"]
    assert (funds["amount"], funds["held"], funds["available"], funds["version"]) == ("2000", "600", "1400", 1)
    world.approve(tap(user, 1400))


@pytest.mark.parametrize("version", [0, 4, 5])
def test_a_version_not_above_the_stored_is_a_conflict(world, version):
    user = world.user(funds=1000)
    assert put_funds(world, user, 2000, 5).status_code == 200
    answer = put_funds(world, user, 3000, version)
    assert answer.status_code == 409
    error_code(answer)
    assert world.profile(user)["funds"]["amount"] == "2000"
    assert put_funds(world, user, 3000, 6).status_code == 200


def test_debited_authorizations_hold_the_users_funds_no_more(world):
    """The user's crypto was debited, so the new figure contains it; UR's pool and limit know nothing of that."""
    user = world.user(funds=1000)
    first, second = world.approve(tap(user, 600)), world.approve(tap(user, 100))
    before = world.figures(user)
    assert put_funds(world, user, 400, 1, [first["authorizationId"]]).status_code == 200
    assert changes(before, world.figures(user)) == {"funds.held": -600}
    funds = world.profile(user)["funds"]
    assert (funds["amount"], funds["held"], funds["available"]) == ("400", "100", "300")
    world.decline(tap(user, 301), "insufficient_user_funds")
    # A second mention of an ended hold is ignored.
    assert put_funds(world, user, 300, 2, [first["authorizationId"], second["authorizationId"]]).status_code == 200
    assert world.profile(user)["funds"]["available"] == "300"


def test_a_reversal_after_the_debit_gives_the_pool_back_and_leaves_the_funds_alone(world):
    user = world.user(funds=1000)
    data = world.approve(tap(user, 600))
    put_funds(world, user, 400, 1, [data["authorizationId"]])
    before = world.figures(user)
    assert world.decide(follow_up("reversal", data, 600))["approvedAmount"] == "600"
    change = changes(before, world.figures(user))
    assert change["pool.held"] == -600
    assert "funds.held" not in change and "funds.available" not in change


def test_a_conflicting_version_ends_no_hold(world):
    user = world.user(funds=1000)
    data = world.approve(tap(user, 600))
    assert put_funds(world, user, 400, 0, [data["authorizationId"]]).status_code == 409
    assert world.profile(user)["funds"]["held"] == "600"


# --- cards, status and controls ------------------------------------------------------------------------------------


def test_a_frozen_card_declines_until_it_is_active_again_and_other_cards_do_not(world):
    user = world.user(cards=2)
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "frozen"})
    world.decline(tap(user), "card_frozen")
    world.approve(tap(user, cardId=user.cards[1]))
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "active"})
    world.approve(tap(user))
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "deleted"})
    world.decline(tap(user), "card_deleted")


def test_controls_of_a_card_bind_that_card_only(world):
    """Whether controls are a key of the card or a path under it, docs/interface.md leaves open: either will do."""
    user = world.user(cards=2)
    controls = {"channel_block": ["atm"]}
    path = f"/api/v1/cards/{user.card}"
    answer = world.server.admin("PUT", path, {"controls": controls})
    if answer.status_code != 200:
        answer = world.server.admin("PUT", path + "/controls", controls)
    assert answer.status_code == 200, answer.text
    world.decline(tap(user, channel="atm"), "channel_blocked")
    world.approve(tap(user, channel="atm", cardId=user.cards[1]))


def test_velocity_counts_in_a_calendar_window_of_a_zone(world):
    user = world.user()
    rule = {"window": "month", "zone": "Europe/Zurich", "amount_max_chf": None, "count_max": 1}
    world.controls(user, velocity=[rule | {"zone": "europe/zurich"}])
    assert world.profile(user)["controls"]["velocity"] == [rule]
    world.approve(tap(user))
    declined = world.decline(tap(user), "velocity_count")
    shown = world.server.admin_ok("GET", f"/api/v1/authorizations/{declined['authorizationId']}")
    values = shown["trace"][-1]["values"]
    assert (values["window"], values["window_seconds"], values["count"]) == ("month", "none", "1")
    assert "-01T00:00:00+0" in values["since"] and values["since"].endswith("[Europe/Zurich]")
    for wrong in ({"window": "week", "zone": "Europe/Zurich"}, {"window": "day"}, {"window": "day", "zone": "Zurich"}):
        body = {"velocity": [wrong | {"count_max": 1}]}
        assert world.server.admin("PUT", f"/api/v1/users/{user.ur_id}/controls", body).status_code == 400


def test_a_repeated_request_does_not_activate_a_card_that_was_used_meanwhile(world):
    user = world.user()
    headers = {"Idempotency-Key": fresh("key")}

    def ask():
        body = {"single_use": True, "status": "active"}
        return world.server.admin("PUT", f"/api/v1/cards/{user.card}", body, headers=headers).json()["status"]

    assert ask() == "active"
    world.approve(tap(user, 100))
    assert ask() == "frozen"
    world.decline(tap(user, 100), "card_frozen")


@pytest.mark.parametrize("path", ["", "/controls"])
def test_a_single_use_card_is_frozen_by_its_first_approval(world, path):
    user = world.user()
    card = world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}{path}", {"single_use": True})
    assert (card["status"], card["single_use"]) == ("active", True)
    first = world.approve(tap(user, 0))
    assert world.profile(user)["cards"][0]["status"] == "frozen"
    world.decline(tap(user), "card_frozen")
    shown = world.server.admin_ok("GET", f"/api/v1/authorizations/{first['authorizationId']}")
    assert shown["single_use"] is True
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "active"})
    world.approve(tap(user))
    world.decline(tap(user), "card_frozen")
    assert world.server.admin("PUT", f"/api/v1/users/{user.ur_id}/controls", {"single_use": True}).status_code == 400


def test_a_suspended_user_declines_until_he_is_resumed(world):
    user = world.user()
    world.suspend_user(user)
    assert world.profile(user)["suspended"] is True
    world.decline(tap(user), "user_suspended")
    world.suspend_user(user, False)
    world.approve(tap(user))


def test_controls_are_shown_and_replaced(world):
    user = world.user("CHF")
    world.controls(user, mcc_block=["5812"], transaction_amount_max={"amount": "1000", "currency": "CHF"})
    shown = world.profile(user)["controls"]
    assert shown["mcc_block"] == ["5812"]
    assert shown["transaction_amount_max"] == {"amount": "1000", "currency": "CHF"}
    world.decline(tap(user), "mcc_blocked")
    world.controls(user, mcc_block=["7995"])
    world.approve(tap(user, 1000))


def test_the_program_shows_whether_it_is_suspended(world):
    assert world.server.admin_ok("GET", "/api/v1/program", role="viewer")["suspended"] is False
    world.suspend_program()
    try:
        assert world.server.admin_ok("GET", "/api/v1/program", role="viewer")["suspended"] is True
    finally:
        world.suspend_program(False)


# --- release -------------------------------------------------------------------------------------------------------


def release(world, data):
    path = f"/api/v1/authorizations/{data['authorizationId']}/release"
    return world.server.admin("POST", path, {"reason": "acceptance test"})


def test_a_release_gives_everything_back_the_limit_included(world):
    """UR never booked it, so unlike its own reversal this restores the limit."""
    user = world.user("CHF")
    before = world.figures(user)
    data = world.approve(tap(user, 1250))
    answer = release(world, data)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["authorizationId"]) == ("released", data["authorizationId"])
    seen = world.authorization(data["authorizationId"])
    assert (seen["state"], int(seen["held"]["amount"])) == ("released", 0)
    assert changes(before, world.figures(user)) == NOTHING


def test_a_release_after_a_partial_reversal_gives_back_what_remains(world):
    user = world.user("CHF")
    data = world.approve(tap(user, 1000))
    world.acknowledge(follow_up("reversal", data, 300), 300)
    before = world.figures(user)
    assert release(world, data).status_code == 200
    change = changes(before, world.figures(user))
    assert {name: change[name] for name in spent(pool=-700, funds=-700)} == spent(pool=-700, funds=-700)


def test_a_second_release_changes_nothing(world):
    user = world.user("CHF")
    data = world.approve(tap(user, 1250))
    release(world, data)
    before = world.figures(user)
    assert release(world, data).status_code in (200, 409)
    assert changes(before, world.figures(user)) == NOTHING


def test_a_released_authorization_still_repeats_its_answer(world):
    user = world.user("CHF")
    data = world.approve(tap(user, 1250))
    release(world, data)
    before = world.figures(user)
    world.approve(data)
    assert changes(before, world.figures(user)) == NOTHING


# --- the list of authorizations ------------------------------------------------------------------------------------


def listed(world, **filters) -> list[str]:
    """All ids that a filter gives, page by page."""
    ids, parameters = [], dict(filters)
    while True:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        page = world.server.admin_ok("GET", f"/api/v1/authorizations?{query}", role="viewer")
        assert {"items", "next"} <= set(page)
        ids += [item["authorizationId"] for item in page["items"]]
        if page["next"] is None:
            return ids
        assert isinstance(page["next"], str)
        parameters["cursor"] = page["next"]
        assert len(ids) <= 1000, "the cursor goes round"


def assert_listed(world, expected, **filters):
    """Rows follow the journal lazily, so a list may take a moment; it must hold every id once."""
    expected = sorted(data["authorizationId"] for data in expected)
    eventually(lambda: sorted(listed(world, **filters)) == expected)
    assert sorted(listed(world, **filters)) == expected


def test_the_list_is_filtered_by_user_card_state_reason_and_time(world):
    user = world.user(cards=2, client_limit=10_000)
    first = world.approve(tap(user, 10))
    on_second_card = world.approve(tap(user, 20, cardId=user.cards[1]))
    back = world.approve(tap(user, 30))
    world.decline(declined := tap(user, 999_999), "limit_exceeded")
    release(world, back)
    of_user = {"urId": user.ur_id}
    assert_listed(world, [first, on_second_card, back, declined], **of_user)
    assert_listed(world, [on_second_card], cardId=user.cards[1])
    assert_listed(world, [first, on_second_card], state="approved", **of_user)
    assert_listed(world, [back], state="released", **of_user)
    assert_listed(world, [declined], reason="limit_exceeded", **of_user)
    window = {"from": now() - 600, "to": now() + 600}
    assert_listed(world, [first, on_second_card, back, declined], **window, **of_user)
    assert_listed(world, [], **{"from": now() + 600, "to": now() + 1200}, **of_user)
    assert_listed(world, [], **{"from": now() - 1200, "to": now() - 600}, **of_user)
    assert_listed(world, [], urId="999999999999")


def test_the_list_is_paged_and_every_item_is_on_one_page(world):
    user = world.user()
    sent = [world.approve(tap(user, amount)) for amount in range(1, 8)]
    assert_listed(world, sent, urId=user.ur_id)
    # The size of a page has no documented name; where `limit` is one, seven items take four pages of two.
    path = f"/api/v1/authorizations?urId={user.ur_id}&limit=2"
    if world.server.admin("GET", path, role="viewer").status_code == 200:
        assert_listed(world, sent, urId=user.ur_id, limit=2)


def test_every_change_is_in_the_journal_with_its_author(world):
    reason = fresh("reason")
    world.server.admin_ok("POST", "/api/v1/program", {"suspended": False, "reason": reason})
    world.approve(tap(world.user()))
    response = world.server.admin("GET", "/api/v1/journal?from=0", role="viewer")
    assert response.status_code == 200
    lines = response.text.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    changes_of_ours = [line for line in lines if reason in line]
    assert changes_of_ours, "the change is in the journal"
    # The token's name is its role's name here.
    assert any("operator" in line for line in changes_of_ours), "and names its author"
