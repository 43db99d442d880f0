"""Where two reasons hold, the earlier one on the ladder is told. Each rung is set against later rungs."""

import pytest

from tapgate import fresh
from test_declines import velocity
from world import follow_up, tap

BLOCKED = {"country": "PRK", "mcc": "7995", "merchant_id": "m_bad", "channel": "atm"}
CONTROLS = {
    "country_block": ["PRK"],
    "mcc_block": ["7995"],
    "merchant_block": ["m_bad"],
    "channel_block": ["atm"],
    "transaction_amount_max": {"amount": "100", "currency": "CHF"},
    **velocity(amount_max_chf=100),
}
# In the ladder's order. Everything is wrong at once; each test takes the earlier controls away.
CONTROL_RUNGS = [
    ("country_blocked", "country_block"),
    ("mcc_blocked", "mcc_block"),
    ("merchant_blocked", "merchant_block"),
    ("channel_blocked", "channel_block"),
    ("transaction_amount_limit", "transaction_amount_max"),
    ("velocity_amount", "velocity"),
]


@pytest.mark.parametrize("first", range(len(CONTROL_RUNGS)), ids=[reason for reason, _ in CONTROL_RUNGS])
def test_controls_decline_in_order_and_before_limit_funds_and_pool(world, first):
    user = world.user("CHF", client_limit=0, funds=0)
    world.controls(user, **{key: CONTROLS[key] for _, key in CONTROL_RUNGS[first:]})
    world.decline(tap(user, 1000, **BLOCKED), CONTROL_RUNGS[first][0])


def test_velocity_amount_comes_before_velocity_count(world):
    user = world.user("CHF", client_limit=1)
    world.controls(user, **velocity(amount_max_chf=100, count_max=1))
    world.approve(tap(user, 1))
    world.decline(tap(user, 100), "velocity_amount")
    world.decline(tap(user, 99), "velocity_count")


def test_currency_comes_before_controls(world):
    user = world.user("CHF")
    world.controls(user, **CONTROLS)
    world.decline(tap(user, 1000, "THB", **BLOCKED), "currency_unsupported")


def test_amount_comes_before_currency(world):
    world.decline(tap(world.user(), 10**15 + 1, "THB"), "amount_invalid")


@pytest.mark.parametrize(("status", "reason"), [("frozen", "card_frozen"), ("deleted", "card_deleted")])
def test_the_card_comes_before_the_amount(world, status, reason):
    world.decline(tap(world.user(card_status=status), 10**15 + 1), reason)


@pytest.mark.parametrize("status", ["frozen", "deleted"])
def test_a_suspended_user_comes_before_the_card(world, status):
    user = world.user(card_status=status)
    world.suspend_user(user)
    world.decline(tap(user), "user_suspended")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("closed", "account_closed"),
        ("blocked", "account_blocked"),
        ("soft_blocked", "account_soft_blocked"),
        ("na", "account_not_live"),
        ("tourist", "account_not_live"),
    ],
)
def test_the_account_comes_before_suspension_card_and_amount(world, status, reason):
    user = world.user(status=status, card_status="frozen")
    world.suspend_user(user)
    world.decline(tap(user, 10**15 + 1), reason)


def test_a_missing_parent_comes_before_the_account_and_the_amount(world):
    user = world.user(status="closed")
    world.decline(follow_up("incremental", tap(user), 0), "parent_not_found")


def test_a_reversal_that_came_before_comes_before_the_account(world):
    user = world.user(status="closed", card_status="frozen")
    late = tap(user, 1000)
    world.acknowledge(follow_up("reversal", late, 1000), 0)
    world.decline(late, "already_reversed")


def test_an_unknown_card_comes_before_the_account_and_the_parent(world):
    user = world.user(status="closed")
    world.decline(tap(user, cardId=fresh("card")), "unknown_card")
    world.decline(follow_up("incremental", tap(user), 100, cardId=fresh("card")), "unknown_card")


def test_an_unknown_user_comes_before_everything_but_the_program(world):
    card = world.user(card_status="frozen").card
    data = tap(world.user(), 10**15 + 1, "THB", urId="999999999999", cardId=card)
    world.decline(data, "unknown_user")
    world.decline(follow_up("incremental", {**data, "authorizationId": fresh("auth")}, 0), "unknown_user")


def test_a_suspended_program_comes_before_everything(world):
    user = world.user(status="closed", card_status="frozen")
    world.suspend_program()
    try:
        world.decline(tap(user, 10**15 + 1, "THB", cardId=fresh("card")), "program_suspended")
        world.decline(tap(user, urId="999999999999"), "program_suspended")
        world.decline(follow_up("incremental", tap(user), 0), "program_suspended")
    finally:
        world.suspend_program(False)


def test_a_known_id_comes_before_even_a_suspended_program(world):
    user = world.user()
    known = world.approve(tap(user, 1000))
    world.suspend_program()
    try:
        world.approve(known)
        world.decline({**known, "transactionAmount": "1001"}, "duplicate_mismatch")
    finally:
        world.suspend_program(False)


def test_the_limit_comes_before_funds_and_pool(world):
    world.set_pool("GBP", 10, reserve=5)
    world.decline(tap(world.user("GBP", client_limit=0, funds=0), 1000), "limit_exceeded")


def test_funds_come_before_the_pool(world):
    world.set_pool("GBP", 10, reserve=5)
    world.decline(tap(world.user("GBP", funds=0), 1000), "insufficient_user_funds")
    world.decline(tap(world.user("GBP", funds=0), 6), "insufficient_user_funds")


def test_a_fiat_balance_that_is_short_comes_before_its_allowance(world):
    fiat = [{"currency": "EUR", "amount": "10", "allowance": False}]
    world.decline(tap(world.user(funding="fiat", fiat=fiat), 1000), "insufficient_user_funds")


def test_the_limit_comes_before_the_fiat_allowance(world):
    fiat = [{"currency": "EUR", "amount": "5000", "allowance": False}]
    world.decline(tap(world.user(funding="fiat", fiat=fiat, client_limit=0), 1000), "limit_exceeded")
