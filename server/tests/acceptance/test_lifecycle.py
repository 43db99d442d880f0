"""What comes after an approval: increments, reversals and advices, in whatever order UR sends them."""

import pytest

from world import NOTHING, acknowledgement, changes, chf_of, follow_up, spent, tap


def approved(world, amount=1000, **overrides):
    user = world.user("CHF", **overrides)
    return user, world.approve(tap(user, amount))


# --- increments ----------------------------------------------------------------------------------------------------


def test_an_increment_adds_to_its_parent_and_names_it(world):
    user, parent = approved(world)
    before = world.figures(user)
    world.approve(follow_up("incremental", parent, 250), root=parent["authorizationId"])
    assert changes(before, world.figures(user)) == spent(pool=250, funds=250, chf=250)
    assert world.held(parent["authorizationId"]) == (1250, "CHF")
    assert world.authorization(parent["authorizationId"])["state"] == "approved"


def test_several_increments_add_up(world):
    _, parent = approved(world)
    world.approve(follow_up("incremental", parent, 250), root=parent["authorizationId"])
    world.approve(follow_up("incremental", parent, 50), root=parent["authorizationId"])
    assert world.held(parent["authorizationId"]) == (1300, "CHF")


def test_an_increment_is_a_decision_of_its_own(world):
    user, parent = approved(world, client_limit=1200)
    before = world.figures(user)
    world.decline(follow_up("incremental", parent, 201), "limit_exceeded")
    assert changes(before, world.figures(user)) == NOTHING
    assert world.held(parent["authorizationId"]) == (1000, "CHF")
    world.approve(follow_up("incremental", parent, 200), root=parent["authorizationId"])


# --- reversals and advices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reversal", "advice"])
def test_a_part_given_back_is_held_no_more_but_uses_the_limit_once_more(world, kind):
    """UR's own reversal adds to the used limit, as its contract does; pool and funds come back."""
    user, parent = approved(world)
    before = world.figures(user)
    world.acknowledge(follow_up(kind, parent, 300), 300)
    assert changes(before, world.figures(user)) == spent(pool=-300, funds=-300, chf=300)
    assert world.held(parent["authorizationId"]) == (700, "CHF")
    assert world.authorization(parent["authorizationId"])["state"] == "approved"


@pytest.mark.parametrize("kind", ["reversal", "advice"])
def test_giving_everything_back_reverses_the_authorization(world, kind):
    user, parent = approved(world)
    world.acknowledge(follow_up(kind, parent, 1000), 1000)
    seen = world.authorization(parent["authorizationId"])
    assert (seen["state"], int(seen["held"]["amount"])) == ("reversed", 0)
    assert world.profile(user)["funds"]["held"] == "0"


def test_parts_given_back_add_up_to_a_full_reversal(world):
    _, parent = approved(world)
    for part in (1, 499, 500):
        world.acknowledge(follow_up("reversal", parent, part), part)
    assert world.authorization(parent["authorizationId"])["state"] == "reversed"


def test_more_than_remains_is_clamped(world):
    user, parent = approved(world)
    world.acknowledge(follow_up("reversal", parent, 400), 400)
    world.acknowledge(follow_up("reversal", parent, 5000), 600)
    assert world.profile(user)["funds"]["held"] == "0"


def test_what_was_given_back_cannot_be_given_back_again(world):
    user, parent = approved(world)
    world.acknowledge(follow_up("reversal", parent, 1000), 1000)
    before = world.figures(user)
    world.acknowledge(follow_up("reversal", parent, 1000), 0)
    assert changes(before, world.figures(user)) == NOTHING


def test_a_reversal_gives_increments_back_too(world):
    user, parent = approved(world)
    world.approve(follow_up("incremental", parent, 250), root=parent["authorizationId"])
    world.acknowledge(follow_up("reversal", parent, 1250), 1250)
    assert world.profile(user)["funds"]["held"] == "0"


def test_a_reversal_is_acknowledged_though_the_ladder_would_decline(world):
    user, parent = approved(world)
    world.suspend_user(user)
    world.acknowledge(follow_up("reversal", parent, 1000), 1000)


def test_a_reversal_of_a_declined_authorization_has_no_effect(world):
    user = world.user("CHF", client_limit=10)
    declined = world.decline(tap(user, 1000), "limit_exceeded")
    before = world.figures(user)
    world.acknowledge(follow_up("reversal", declined, 1000), 0)
    assert changes(before, world.figures(user)) == NOTHING


def test_a_repeated_reversal_gives_back_once(world):
    user, parent = approved(world)
    reversal = world.acknowledge(follow_up("reversal", parent, 300), 300)
    before = world.figures(user)
    world.acknowledge(reversal, 300)
    assert changes(before, world.figures(user)) == NOTHING


def test_a_reversal_of_nothing_changes_nothing(world):
    """docs/interface.md: 0 is amount_invalid except for an authorization, and reversals are always acknowledged."""
    user, parent = approved(world)
    before = world.figures(user)
    answer = world.decide(reversal := follow_up("reversal", parent, 0))
    assert answer == acknowledgement(reversal, 0) or answer["reason"] == "amount_invalid"
    assert changes(before, world.figures(user)) == NOTHING


def test_a_reversal_before_its_authorization_leaves_a_tombstone_that_declines_it(world):
    user = world.user("CHF")
    before = world.figures(user)
    late = tap(user, 1000)
    world.acknowledge(follow_up("reversal", late, 1000), 0)
    world.decline(late, "already_reversed")
    assert changes(before, world.figures(user)) == NOTHING


def test_a_chf_use_is_priced_in_the_paid_currency(world):
    user = world.user("EUR")
    parent = world.approve(tap(user, 1000))
    before = world.figures(user)
    world.acknowledge(follow_up("reversal", parent, 333), 333)
    change = changes(before, world.figures(user))
    assert (change["pool.held"], change["limit.unreflected"]) == (-333, chf_of(333, "EUR"))
