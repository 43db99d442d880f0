"""The world around the engine: users, pools, rates and card traffic, and UR's formulas to predict every figure.

Amounts are Python integers of the smallest unit; only the wire carries strings.
"""

import itertools
import json
from dataclasses import dataclass

from tapgate import Server, fresh, now, sign_v1

# So large that no test reaches it by accident, so small that sums stay far from the largest amount (10^15).
PLENTY = 10**12
LIMIT_PERIOD_SECONDS = 2_592_000
RATE_ONE = 10_000

SPREAD = 10_150
INTERCHANGE_PERCENT = 1
# Thousandths of a franc per unit; a franc itself needs no rate.
CHF_RATES = {"EUR": 945, "USD": 863, "GBP": 1150, "CNH": 122, "JPY": 6, "SGD": 670, "HKD": 110}
# No pair leads to or from HKD but USD→HKD: conversions of it are derived over USD.
PAIRS = {
    ("USD", "EUR"): 9168,
    ("EUR", "USD"): 10907,
    ("GBP", "EUR"): 11947,
    ("SGD", "EUR"): 6900,
    ("CNH", "EUR"): 1293,
    ("USD", "HKD"): 78000,
    ("EUR", "CHF"): 9414,
    ("USD", "CHF"): 8632,
}

# The ladder's reasons with their ISO 8583 response codes, in order of precedence.
RESPONSE_CODES = {
    "duplicate_mismatch": "94",
    "program_suspended": "91",
    "unknown_user": "14",
    "unknown_card": "14",
    "already_reversed": "12",
    "parent_not_found": "12",
    "provider_suspended": "91",
    "account_closed": "46",
    "account_blocked": "62",
    "account_soft_blocked": "62",
    "account_not_live": "57",
    "user_suspended": "62",
    "card_frozen": "62",
    "card_deleted": "14",
    "amount_invalid": "13",
    "currency_unsupported": "12",
    "country_blocked": "62",
    "mcc_blocked": "57",
    "merchant_blocked": "57",
    "channel_blocked": "57",
    "transaction_amount_limit": "61",
    "velocity_amount": "61",
    "velocity_count": "65",
    "rates_stale": "96",
    "state_stale": "96",
    "limit_exceeded": "61",
    "insufficient_user_funds": "51",
    "fiat_allowance_missing": "57",
    "pool_stressed": "51",
    "pool_reserve_held": "51",
    "pool_exhausted": "51",
    "deadline_exceeded": "91",
    "journal_unavailable": "96",
}


# --- UR's formulas (docs/interface.md, docs/ur-facts.md) -----------------------------------------------------


def chf_of(paid: int, currency: str) -> int:
    """What a paid amount uses of the CHF limit: floors, as UR's contract does."""
    return paid * {"CHF": 1000, **CHF_RATES}[currency] // 1000


def converted(amount: int, rate: int, spread: int = SPREAD) -> int:
    """Rule (2): a transaction in a currency that UR holds, paid in the card's."""
    return max(1, amount * rate * spread // 100_000_000)


def settled(settlement: int, rate: int = RATE_ONE, spread: int = RATE_ONE) -> int:
    """Rule (3): any other currency, from the EUR settlement amount plus interchange."""
    return max(1, settlement * (100 + INTERCHANGE_PERCENT) * rate * spread // 10_000_000_000)


def funds_of(paid: int, rate: int = RATE_ONE, spread: int = RATE_ONE) -> int:
    """What is held of the user's own funds: rounds up, in our favour."""
    return -(-paid * rate * spread // 100_000_000)


# --- what a request is made of -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class User:
    ur_id: str
    cards: tuple[str, ...]
    # Currency of the first card, in which `tap` spends by default.
    currency: str

    @property
    def card(self) -> str:
        return self.cards[0]


_ur_ids = itertools.count(int(fresh("")[1:9], 16) % 900_000_000 + 100_000_000)


def user_line(currency="EUR", cards=1, **overrides) -> dict:
    """One line of an import: a live user with plenty of everything, unless overridden.

    Shorthands: `client_limit`, `used_limit`, `limit_started`, `funds` (amount in `currency`), `card_status`.
    """
    ur_id = overrides.pop("urId", None) or str(next(_ur_ids))
    card_status = overrides.pop("card_status", "active")
    line = {
        "urId": ur_id,
        "status": "live",
        "limit": {
            "usedLimit": str(overrides.pop("used_limit", 0)),
            "clientLimit": str(overrides.pop("client_limit", PLENTY)),
            "startLimitDate": overrides.pop("limit_started", now() - 1000),
        },
        "funds": {"amount": str(overrides.pop("funds", PLENTY)), "currency": overrides.pop("funds_currency", currency)},
        "fiat": [],
        "funding": "crypto",
        "cards": [
            {"cardId": f"card_{ur_id}_{number}", "status": card_status, "currency": currency}
            for number in range(1, cards + 1)
        ],
    }
    return {**line, **overrides}


def user_of(line: dict) -> User:
    return User(line["urId"], tuple(card["cardId"] for card in line["cards"]), line["cards"][0]["currency"])


def tap(user: User, amount=1250, currency: str | None = None, **overrides) -> dict:
    """The `data` of a callback. Shorthands for the merchant: `mcc`, `country`, `merchant_id`."""
    merchant = {
        "id": overrides.pop("merchant_id", "m_1"),
        "name": "Café",
        "mcc": overrides.pop("mcc", "5812"),
        "city": "Zürich",
        "country": overrides.pop("country", "CHE"),
    }
    data = {
        "authorizationId": fresh("auth"),
        "type": "authorization",
        "originalAuthorizationId": None,
        "urId": user.ur_id,
        "cardId": user.card,
        "transactionAmount": str(amount),
        "transactionCurrency": currency or user.currency,
        "settlementAmount": None,
        "settlementCurrency": None,
        "partialApprovalAllowed": False,
        "merchant": merchant,
        "channel": "pos",
    }
    return {**data, **overrides}


def follow_up(kind: str, parent: dict, amount, **overrides) -> dict:
    """An increment, reversal or advice to the authorization whose data is `parent`."""
    data = {
        **parent,
        "authorizationId": fresh(kind),
        "type": kind,
        "originalAuthorizationId": parent["authorizationId"],
        "transactionAmount": str(amount),
    }
    return {**data, **overrides}


def envelope(data, timestamp=None, event="card_authorization") -> bytes:
    """The raw body. UTF-8 as it is, since the signature is over bytes and UR does not escape."""
    body = {"event": event, "timestamp": now() if timestamp is None else timestamp, "data": data}
    return json.dumps(body, ensure_ascii=False).encode()


def approval(data: dict, source="CRYPTO", root: str | None = None) -> dict:
    """The answer to an approved authorization or increment, to the letter."""
    return {
        "authorizationId": data["authorizationId"],
        "approved": True,
        "source": source,
        "approvedAmount": str(data["transactionAmount"]),
        "currency": data["transactionCurrency"],
        "partnerRefId": root or data["authorizationId"],
    }


def acknowledgement(data: dict, given_back: int) -> dict:
    """The answer to a reversal or advice, to the letter."""
    return {
        "authorizationId": data["authorizationId"],
        "approved": True,
        "approvedAmount": str(given_back),
        "currency": data["transactionCurrency"],
        "partnerRefId": data["originalAuthorizationId"],
    }


# --- figures -------------------------------------------------------------------------------------------------------


def spent(pool=0, funds=0, chf=0) -> dict:
    """The changes of figures when this much is held (negative: given back)."""
    changes = {
        "pool.held": pool,
        "pool.unreflected": pool,
        "pool.available": -pool,
        "funds.held": funds,
        "funds.available": -funds,
        "limit.unreflected": chf,
        "limit.headroom": -chf,
    }
    return {name: change for name, change in changes.items() if change}


def changes(before: dict, after: dict) -> dict:
    assert before.keys() == after.keys()
    return {name: after[name] - before[name] for name in before if after[name] != before[name]}


NOTHING: dict = {}


class World:
    """A server and what people do with it."""

    def __init__(self, server: Server):
        self.server = server

    def furnished(self) -> "World":
        self.set_rates()
        for currency in ("EUR", "USD", "CHF"):
            self.set_pool(currency, PLENTY)
        return self

    def set_rates(self, chf=None, pairs=None):
        body = {
            "chf": {currency: str(rate) for currency, rate in (chf or CHF_RATES).items()},
            "pairs": [
                {"from": source, "to": target, "rate": str(rate), "spread": str(SPREAD)}
                for (source, target), rate in (pairs or PAIRS).items()
            ],
            "interchange_percent": str(INTERCHANGE_PERCENT),
        }
        return self.server.admin_ok("PUT", "/api/v1/rates", body, role="treasurer")

    def set_pool(self, currency: str, reported: int, floor=0, reserve=0, **extra) -> dict:
        body = {"reported": str(reported), "floor": str(floor), "reserve": str(reserve), **extra}
        return self.server.admin_ok("PUT", f"/api/v1/pools/{currency}", body, role="treasurer")

    def import_lines(self, *lines: dict) -> dict:
        return self.import_raw("".join(json.dumps(line) + "\n" for line in lines).encode())

    def import_raw(self, raw: bytes) -> dict:
        headers = {"Content-Type": "application/x-ndjson"}
        return self.server.admin_ok("POST", "/api/v1/users/import", raw=raw, headers=headers)

    def user(self, currency="EUR", **overrides) -> User:
        """A fresh user; see `user_line` for the overrides."""
        line = user_line(currency, **overrides)
        assert self.import_lines(line) == {"imported": 1, "rejected": []}
        return user_of(line)

    def controls(self, user: User, **controls):
        self.server.admin_ok("PUT", f"/api/v1/users/{user.ur_id}/controls", controls)

    def suspend_user(self, user: User, suspended=True):
        self.server.admin_ok("PUT", f"/api/v1/users/{user.ur_id}/status", {"suspended": suspended})

    def suspend_program(self, suspended=True):
        body = {"suspended": suspended, "reason": "acceptance test"}
        self.server.admin_ok("POST", "/api/v1/program", body)

    # --- reading

    def profile(self, user: User) -> dict:
        return self.server.admin_ok("GET", f"/api/v1/users/{user.ur_id}", role="viewer")

    def pool(self, currency: str) -> dict:
        """The pool's amounts as integers."""
        pool = self.server.admin_ok("GET", f"/api/v1/pools/{currency}", role="viewer")
        names = ("reported", "held", "unreflected", "floor", "reserve", "available")
        return {name: int(pool[name]) for name in names}

    def figures(self, user: User, pool: str | None = None) -> dict:
        """Every figure that a decision for this user may change."""
        profile, pool_figures = self.profile(user), self.pool(pool or user.currency)
        figures = {f"pool.{name}": pool_figures[name] for name in ("held", "unreflected", "available")}
        figures |= {f"funds.{name}": int(profile["funds"][name]) for name in ("held", "available")}
        figures |= {f"limit.{name}": int(profile["limit"][name]) for name in ("unreflected", "headroom")}
        return figures

    def authorization(self, authorization_id: str) -> dict:
        return self.server.admin_ok("GET", f"/api/v1/authorizations/{authorization_id}", role="viewer")

    def held(self, authorization_id: str) -> tuple[int, str]:
        held = self.authorization(authorization_id)["held"]
        return int(held["amount"]), held["currency"]

    def is_unknown(self, authorization_id: str) -> bool:
        response = self.server.admin("GET", f"/api/v1/authorizations/{authorization_id}", role="viewer")
        return response.status_code == 404

    # --- traffic

    def send(self, data: dict):
        """Signs and sends one callback; the bare response."""
        body = envelope(data)
        return self.server.post(body, sign_v1(body))

    def decide(self, data: dict) -> dict:
        response = self.send(data)
        assert response.status_code == 200, f"{response.status_code} {response.text}"
        return response.json()

    def approve(self, data: dict, source="CRYPTO", root: str | None = None) -> dict:
        """Sends what must be approved, with an answer exact to the letter; gives the data back."""
        assert self.decide(data) == approval(data, source, root)
        return data

    def decline(self, data: dict, reason: str) -> dict:
        """Sends what must be declined for this reason and no other."""
        answer = self.decide(data)
        # A declined increment may name its root or itself: docs/interface.md shows only authorizations.
        own, root = data["authorizationId"], data["originalAuthorizationId"]
        assert answer["partnerRefId"] in ({own} if data["type"] == "authorization" else {own, root}), answer
        assert answer == {
            "authorizationId": own,
            "approved": False,
            "reason": reason,
            "responseCode": RESPONSE_CODES[reason],
            "partnerRefId": answer["partnerRefId"],
        }
        return data

    def acknowledge(self, data: dict, given_back: int) -> dict:
        """Sends a reversal or advice that gives this much back."""
        assert self.decide(data) == acknowledgement(data, given_back)
        return data
