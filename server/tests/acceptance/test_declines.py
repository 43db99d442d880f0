"""Every reason that can be provoked from outside, with its ISO 8583 response code, and that it holds nothing."""

import pytest

from tapgate import fresh
from world import NOTHING, PLENTY, World, changes, follow_up, tap

# Each case prepares its world and returns the data to be declined. The table below names them by their reason.


def unknown_user(world):
    return tap(world.user(), urId="999999999999")


def unknown_card(world):
    return tap(world.user(), cardId=fresh("card"))


def card_of_another_user(world):
    return tap(world.user(), cardId=world.user().card)


def reversed_before_it_came(world):
    late = tap(world.user(), 1000)
    world.acknowledge(follow_up("reversal", late, 1000), 0)
    return late


def increment_of_an_unknown_parent(world):
    return follow_up("incremental", tap(world.user()), 100)


def increment_by_another_user(world):
    parent, other = world.approve(tap(world.user())), world.user()
    return follow_up("incremental", parent, 100, urId=other.ur_id, cardId=other.card)


def increment_on_another_card(world):
    user = world.user(cards=2)
    return follow_up("incremental", world.approve(tap(user)), 100, cardId=user.cards[1])


def increment_in_another_currency(world):
    return follow_up("incremental", world.approve(tap(world.user())), 100, transactionCurrency="USD")


def increment_of_a_reversed_parent(world):
    parent = world.approve(tap(world.user(), 1000))
    world.acknowledge(follow_up("reversal", parent, 1000), 1000)
    return follow_up("incremental", parent, 100)


def increment_of_a_declined_parent(world):
    return follow_up("incremental", world.decline(tap(world.user(client_limit=0)), "limit_exceeded"), 1)


def increment_of_a_released_parent(world):
    parent = world.approve(tap(world.user(), 1000))
    path = f"/api/v1/authorizations/{parent['authorizationId']}/release"
    world.server.admin_ok("POST", path, {"reason": "acceptance test"})
    return follow_up("incremental", parent, 100)


def with_status(status):
    return lambda world: tap(world.user(status=status))


def suspended_user(world):
    user = world.user()
    world.suspend_user(user)
    return tap(user)


def with_card(status):
    return lambda world: tap(world.user(card_status=status))


def amount_over_the_largest(world):
    return tap(world.user(), 10**15 + 1)


def increment_of_nothing(world):
    return follow_up("incremental", world.approve(tap(world.user())), 0)


def increment_over_the_largest(world):
    return follow_up("incremental", world.approve(tap(world.user())), 999_999_999_999_999_999)


def currency_without_settlement(world):
    return tap(world.user(), currency="THB")


def under_controls(controls, **overrides):
    def case(world):
        user = world.user("CHF")
        world.controls(user, **controls)
        return tap(user, **overrides)

    return case


def velocity(amount_max_chf=PLENTY, count_max=1000, window_seconds=3600):
    limit = {"window_seconds": window_seconds, "amount_max_chf": str(amount_max_chf), "count_max": count_max}
    return {"velocity": [limit]}


def velocity_amount(world):
    user = world.user("CHF")
    world.controls(user, **velocity(amount_max_chf=3000))
    world.approve(tap(user, 2000))
    return tap(user, 1001)


def velocity_count(world):
    user = world.user("CHF")
    world.controls(user, **velocity(count_max=2))
    world.approve(tap(user, 1))
    world.approve(tap(user, 1))
    return tap(user, 1)


def velocity_count_with_an_increment(world):
    user = world.user("CHF")
    world.controls(user, **velocity(count_max=2))
    parent = world.approve(tap(user, 10))
    world.approve(follow_up("incremental", parent, 1), root=parent["authorizationId"])
    return tap(user, 1)


def limit_by_a_single_unit(world):
    return tap(world.user("CHF", client_limit=1249), 1250)


def limit_used_elsewhere(world):
    return tap(world.user("CHF", client_limit=100_000, used_limit=99_000), 1001)


def limit_used_by_an_earlier_tap(world):
    user = world.user("CHF", client_limit=1000)
    world.approve(tap(user, 600))
    return tap(user, 401)


def funds_short_by_a_single_unit(world):
    return tap(world.user(funds=1249), 1250)


def funds_held_by_an_earlier_tap(world):
    user = world.user(funds=1000)
    world.approve(tap(user, 600))
    return tap(user, 401)


def fiat_short(world):
    fiat = [{"currency": "EUR", "amount": "1249", "allowance": True}]
    return tap(world.user(funding="fiat", fiat=fiat), 1250)


def fiat_without_allowance(world):
    fiat = [{"currency": "EUR", "amount": "5000", "allowance": False}]
    return tap(world.user(funding="fiat", fiat=fiat))


def pool_keeps_its_reserve(world):
    world.set_pool("GBP", 10_000, floor=1000, reserve=5000)
    return tap(world.user("GBP"), 4001)


def pool_keeps_its_reserve_to_the_last_unit(world):
    world.set_pool("GBP", 10_000, floor=1000, reserve=5000)
    return tap(world.user("GBP"), 9000)


def pool_would_fall_below_zero(world):
    world.set_pool("GBP", 10_000, floor=1000, reserve=5000)
    return tap(world.user("GBP"), 9001)


def pool_spent_by_others(world):
    world.set_pool("SGD", 1000)
    world.approve(tap(world.user("SGD"), 600))
    return tap(world.user("SGD"), 401)


def other_data_under_a_known_id(world):
    first = world.approve(tap(world.user(), 1000))
    return {**first, "transactionAmount": "1001"}


CASES = [
    ("unknown_user", unknown_user),
    ("unknown_card", unknown_card),
    ("unknown_card", card_of_another_user),
    ("already_reversed", reversed_before_it_came),
    ("parent_not_found", increment_of_an_unknown_parent),
    ("parent_not_found", increment_by_another_user),
    ("parent_not_found", increment_on_another_card),
    ("parent_not_found", increment_in_another_currency),
    ("parent_not_found", increment_of_a_reversed_parent),
    ("parent_not_found", increment_of_a_declined_parent),
    ("parent_not_found", increment_of_a_released_parent),
    ("account_closed", with_status("closed")),
    ("account_blocked", with_status("blocked")),
    ("account_soft_blocked", with_status("soft_blocked")),
    ("account_not_live", with_status("na")),
    ("account_not_live", with_status("tourist")),
    ("user_suspended", suspended_user),
    ("card_frozen", with_card("frozen")),
    ("card_deleted", with_card("deleted")),
    ("amount_invalid", amount_over_the_largest),
    ("amount_invalid", increment_of_nothing),
    ("amount_invalid", increment_over_the_largest),
    ("currency_unsupported", currency_without_settlement),
    ("country_blocked", under_controls({"country_block": ["PRK", "IRN"]}, country="IRN")),
    ("mcc_blocked", under_controls({"mcc_block": ["7995", "6051"]}, mcc="6051")),
    ("merchant_blocked", under_controls({"merchant_block": ["m_bad"]}, merchant_id="m_bad")),
    ("channel_blocked", under_controls({"channel_block": ["atm"]}, channel="atm")),
    ("country_blocked", under_controls({"country_allow": ["CH", "040"]}, country="DEU")),
    ("mcc_blocked", under_controls({"mcc_allow": ["5411", "742"]}, mcc="5812")),
    ("merchant_blocked", under_controls({"merchant_allow": ["m_good"]}, merchant_id="m_good2")),
    ("channel_blocked", under_controls({"channel_allow": ["pos"]}, channel="hologram")),
    (
        "transaction_amount_limit",
        under_controls({"transaction_amount_max": {"amount": "1000", "currency": "CHF"}}, amount=1001),
    ),
    ("velocity_amount", velocity_amount),
    ("velocity_count", velocity_count),
    ("velocity_count", velocity_count_with_an_increment),
    ("limit_exceeded", limit_by_a_single_unit),
    ("limit_exceeded", limit_used_elsewhere),
    ("limit_exceeded", limit_used_by_an_earlier_tap),
    ("insufficient_user_funds", funds_short_by_a_single_unit),
    ("insufficient_user_funds", funds_held_by_an_earlier_tap),
    ("insufficient_user_funds", fiat_short),
    ("fiat_allowance_missing", fiat_without_allowance),
    ("pool_reserve_held", pool_keeps_its_reserve),
    ("pool_reserve_held", pool_keeps_its_reserve_to_the_last_unit),
    ("pool_exhausted", pool_would_fall_below_zero),
    ("pool_exhausted", pool_spent_by_others),
    ("duplicate_mismatch", other_data_under_a_known_id),
]


def name_of(case) -> str:
    return case.__name__ if callable(case) and not case.__qualname__.count("<locals>") else ""


@pytest.mark.parametrize(("reason", "case"), CASES, ids=[f"{reason}-{name_of(case)}" for reason, case in CASES])
def test_a_decline_names_its_reason_and_holds_nothing(world, reason, case):
    data = case(world)
    pools_before = [world.pool(currency) for currency in ("EUR", "USD", "CHF")]
    world.decline(data, reason)
    assert [world.pool(currency) for currency in ("EUR", "USD", "CHF")] == pools_before


def test_a_suspended_program_declines_everything_and_a_resumed_one_nothing(world):
    user = world.user()
    before = world.figures(user)
    world.suspend_program()
    try:
        world.decline(tap(user), "program_suspended")
        world.decline(unknown_user(world), "program_suspended")
        assert changes(before, world.figures(user)) == NOTHING
    finally:
        world.suspend_program(False)
    world.approve(tap(user))


def test_a_pool_under_stress_pays_only_essentials(new_server):
    tiers = [{"below_reserve_percent": 100, "amount_max_chf": "5000", "mcc": ["5411", "5912"]}]
    world = World(new_server(config={"decision": {"stress": tiers}})).furnished()
    world.set_pool("EUR", 20_000, reserve=20_000)
    user = world.user()
    world.decline(tap(user, 1000, mcc="5812"), "pool_reserve_held")
    world.decline(tap(user, 6000, mcc="5411"), "pool_reserve_held")
    world.approve(tap(user, 1000, mcc="5411"))
    rich = world.user(funding="crypto_then_fiat", fiat=[{"currency": "EUR", "amount": "5000", "allowance": True}])
    world.approve(tap(rich, 1000, mcc="5812"), source="FIAT")
    world.set_pool("EUR", PLENTY)
    world.approve(tap(user, 1000, mcc="5812"))


def test_rates_never_set_are_stale(new_server):
    world = World(new_server())
    world.set_pool("EUR", PLENTY)
    user = world.user()
    world.decline(tap(user), "rates_stale")
    assert changes({"held": 0}, {"held": world.pool("EUR")["held"]}) == NOTHING
    world.set_rates()
    world.approve(tap(user))


# --- the edges on the other side: what is just allowed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("controls", "overrides"),
    [
        ({"country_block": ["PRK"]}, {"country": "KOR"}),
        ({"mcc_block": ["7995"]}, {"mcc": "7994"}),
        ({"merchant_block": ["m_bad"]}, {"merchant_id": "m_bad2"}),
        ({"channel_block": ["atm"]}, {"channel": "pos"}),
        ({"country_allow": ["CH", "040"]}, {"country": "AUT"}),
        ({"mcc_allow": ["5411", "742"]}, {"mcc": "0742"}),
        ({"merchant_allow": ["m_good"]}, {"merchant_id": "m_good"}),
        ({"channel_allow": ["other"]}, {"channel": "hologram"}),
        ({"transaction_amount_max": {"amount": "1000", "currency": "CHF"}}, {"amount": 1000}),
        (velocity(amount_max_chf=1000, count_max=1), {"amount": 1000}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_controls_let_through_what_they_do_not_name(world, controls, overrides):
    world.approve(under_controls(controls, **overrides)(world))


def test_the_largest_amount_is_a_valid_amount(world):
    """10^15 itself is declined for want of limit, not for its form."""
    world.decline(tap(world.user(), 10**15), "limit_exceeded")


def test_a_pool_may_be_spent_down_to_its_reserve(world):
    world.set_pool("HKD", 10_000, floor=1000, reserve=5000)
    world.approve(tap(world.user("HKD"), 4000))
    assert world.pool("HKD")["available"] == 5000


def test_declines_do_not_count_towards_velocity(world):
    user = world.user("CHF", client_limit=1000)
    world.controls(user, **velocity(count_max=1))
    world.decline(tap(user, 1001), "limit_exceeded")
    world.approve(tap(user, 1000))


def test_reversals_free_velocity_amounts_but_not_counts(world):
    user = world.user("CHF")
    world.controls(user, **velocity(amount_max_chf=1001, count_max=2))
    first = world.approve(tap(user, 1000))
    world.acknowledge(follow_up("reversal", first, 1000), 1000)
    world.approve(tap(user, 1000))
    world.decline(tap(user, 0), "velocity_count")
