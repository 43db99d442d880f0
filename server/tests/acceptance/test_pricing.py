"""Which pool pays and how much: the transaction's own currency, else the card's by UR's rates."""

import pytest

from world import (
    CHF_RATES,
    PAIRS,
    User,
    World,
    changes,
    chf_of,
    converted,
    follow_up,
    funds_of,
    settled,
    spent,
    tap,
    user_line,
)


def test_a_pool_in_the_transaction_currency_pays_without_a_rate(world):
    user = world.user()
    before, euros = world.figures(user, "USD"), world.pool("EUR")
    data = world.approve(tap(user, 1250, "USD"))
    funds = funds_of(1250, PAIRS["USD", "EUR"], 10_150)
    assert changes(before, world.figures(user, "USD")) == spent(pool=1250, funds=funds, chf=chf_of(1250, "USD"))
    assert world.held(data["authorizationId"]) == (1250, "USD")
    assert world.pool("EUR") == euros


@pytest.mark.parametrize("amount", [1, 99, 1250, 12_345, 999_999])
def test_without_such_a_pool_the_amount_is_converted_to_the_cards_currency(world, amount):
    user = world.user()
    before = world.figures(user)
    data = world.approve(tap(user, amount, "GBP"))
    paid = converted(amount, PAIRS["GBP", "EUR"])
    assert world.held(data["authorizationId"]) == (paid, "EUR")
    assert changes(before, world.figures(user)) == spent(pool=paid, funds=paid, chf=chf_of(paid, "EUR"))


def test_the_answer_is_in_the_transaction_currency_whatever_was_held(world):
    data = tap(world.user(), 1250, "GBP")
    answer = world.decide(data)
    assert (answer["approvedAmount"], answer["currency"]) == ("1250", "GBP")


def test_a_pool_with_too_little_in_the_transaction_currency_is_passed_over(world):
    world.set_pool("SGD", 1000)
    user = world.user()
    through_rates = world.approve(tap(user, 1001, "SGD"))
    assert world.held(through_rates["authorizationId"]) == (converted(1001, PAIRS["SGD", "EUR"]), "EUR")
    direct = world.approve(tap(user, 1000, "SGD"))
    assert world.held(direct["authorizationId"]) == (1000, "SGD")


def test_funds_in_another_currency_are_held_by_rate_and_spread_rounded_up(world):
    user = world.user(funds_currency="USD")
    for amount in (1, 1159, 99_999):
        before = world.figures(user)
        world.approve(tap(user, amount))
        funds = funds_of(amount, PAIRS["EUR", "USD"], 10_150)
        assert changes(before, world.figures(user)) == spent(pool=amount, funds=funds, chf=chf_of(amount, "EUR"))


@pytest.mark.parametrize("settlement", [1, 99, 1159, 1_000_000])
def test_a_currency_ur_does_not_hold_is_paid_from_the_settlement_amount_plus_interchange(world, settlement):
    user = world.user()
    before = world.figures(user)
    data = tap(user, 45_000, "THB", settlementAmount=str(settlement), settlementCurrency="EUR")
    world.approve(data)
    paid = settled(settlement)
    assert world.held(data["authorizationId"]) == (paid, "EUR")
    assert changes(before, world.figures(user)) == spent(pool=paid, funds=paid, chf=chf_of(paid, "EUR"))


def test_a_settlement_amount_is_converted_to_the_cards_currency(world):
    user = world.user("CHF")
    data = world.approve(tap(user, 45_000, "THB", settlementAmount="1159", settlementCurrency="EUR"))
    assert world.held(data["authorizationId"]) == (settled(1159, PAIRS["EUR", "CHF"], 10_150), "CHF")


@pytest.mark.parametrize("settlement_currency", ["USD", "THB", None])
def test_a_currency_ur_does_not_hold_needs_a_settlement_in_euros(world, settlement_currency):
    amount = settlement_currency and "1159"
    data = tap(world.user(), 45_000, "THB", settlementAmount=amount, settlementCurrency=settlement_currency)
    world.decline(data, "currency_unsupported")


def test_a_settlement_in_another_currency_does_not_matter_where_ur_holds_the_transactions(world):
    data = world.approve(tap(world.user(), 1250, "GBP", settlementAmount="1", settlementCurrency="USD"))
    assert world.held(data["authorizationId"]) == (converted(1250, PAIRS["GBP", "EUR"]), "EUR")


def test_a_missing_pair_is_derived_over_usd(world):
    """HKD→EUR = floor(floor(1e8 / USD→HKD) · USD→EUR / 1e4)."""
    rate = 100_000_000 // PAIRS["USD", "HKD"] * PAIRS["USD", "EUR"] // 10_000
    data = world.approve(tap(world.user(), 123_456, "HKD"))
    assert world.held(data["authorizationId"]) == (converted(123_456, rate), "EUR")


def test_a_missing_pair_with_usd_on_one_side_is_inverted(world):
    """HKD→USD = floor(1e8 / USD→HKD)."""
    data = world.approve(tap(world.user("USD"), 123_456, "HKD"))
    assert world.held(data["authorizationId"]) == (converted(123_456, 100_000_000 // PAIRS["USD", "HKD"]), "USD")


def test_a_pair_that_cannot_be_derived_is_unsupported(world):
    """No rate leads from JPY anywhere."""
    world.decline(tap(world.user(), 5000, "JPY"), "currency_unsupported")


def test_yuan_are_cnh(world):
    user = world.user()
    data = world.approve(tap(user, 10_000, "CNY"))
    assert world.held(data["authorizationId"]) == (converted(10_000, PAIRS["CNH", "EUR"]), "EUR")


def test_the_smallest_priced_amount_is_one_unit(world):
    """One CNH cent is a fraction of a EUR cent; UR books nothing as nothing."""
    data = world.approve(tap(world.user(), 1, "CNH"))
    assert world.held(data["authorizationId"]) == (1, "EUR")


def test_a_partial_reversal_of_a_converted_amount_keeps_its_share_rounded_up(world):
    user = world.user()
    before = world.figures(user)
    data = world.approve(tap(user, 1000, "GBP"))
    paid = converted(1000, PAIRS["GBP", "EUR"])
    world.acknowledge(follow_up("reversal", data, 333), 333)
    remaining = -(-paid * 667 // 1000)
    assert world.held(data["authorizationId"]) == (remaining, "EUR")
    assert world.figures(user)["pool.held"] - before["pool.held"] == remaining
    world.acknowledge(follow_up("reversal", data, 667), 667)
    assert world.held(data["authorizationId"])[0] == 0
    assert world.figures(user)["pool.held"] == before["pool.held"]


def test_new_rates_price_the_next_authorization_and_leave_held_ones_alone(world):
    user = world.user()
    old = world.approve(tap(user, 1000, "GBP"))
    try:
        world.set_rates(pairs={**PAIRS, ("GBP", "EUR"): 20_000})
        new = world.approve(tap(user, 1000, "GBP"))
        assert world.held(new["authorizationId"]) == (converted(1000, 20_000), "EUR")
        assert world.held(old["authorizationId"]) == (converted(1000, PAIRS["GBP", "EUR"]), "EUR")
    finally:
        world.set_rates()


def test_the_limit_weight_multiplies_what_a_spend_uses_of_the_limit(new_server):
    world = World(new_server(config={"decision": {"limit_weight": 2, "fx_buffer_bps": 100}})).furnished()
    user = world.user()
    before = world.figures(user)
    world.approve(tap(user, 1250))
    # No buffer within one currency.
    assert changes(before, world.figures(user)) == spent(pool=1250, funds=1250, chf=2 * chf_of(1250, "EUR"))
    data = world.approve(tap(user, 1000, "GBP"))
    paid = converted(1000, PAIRS["GBP", "EUR"])
    assert world.held(data["authorizationId"])[0] in (paid + paid // 100, paid + -(-paid // 100))


def test_a_card_without_a_currency_has_the_configured_one(world):
    line = user_line("USD")
    line["cards"] = [{"cardId": line["cards"][0]["cardId"], "status": "active"}]
    world.import_lines(line)
    data = world.approve(tap(User(line["urId"], (line["cards"][0]["cardId"],), "EUR"), 1000, "GBP"))
    assert world.held(data["authorizationId"]) == (converted(1000, PAIRS["GBP", "EUR"]), "EUR")


def test_every_rate_of_the_tests_is_sane():
    """Guards the tables above: a pair of the same currency or a franc's own rate would hide mistakes."""
    assert "CHF" not in CHF_RATES and all(source != target for source, target in PAIRS)
