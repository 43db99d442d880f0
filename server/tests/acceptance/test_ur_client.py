"""A partner's client of UR, written from UR's documents alone (seeds 003 and 004), against the sandbox's simulated UR.

It signs, names fields and forms amounts as the documents say, and knows nothing of tapgate: where it gets through, a client of
UR's does.
"""

import json
import time

import pytest
import requests
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import keccak

from tapgate import eventually, fresh
from test_sandbox import Running, sandbox, values

MANTLE, BSC = "eip155:5003", "eip155:97"


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.code = status, body.get("code", body.get("error_code"))


class Client:
    """UR-OPEN-API, Delegated Contract Mode."""

    def __init__(self, base: str, key: str, ur_id: int, wallet: str = "0x92ca8D358c7298517e0a1c9893a05e59A2641d89"):
        self.base, self.key, self.ur_id, self.wallet = base, Account.from_key(key), ur_id, wallet

    def send(self, method: str, path: str, body: bytes = b"", suffix: str = "", **headers):
        deadline = int(time.time()) + 120
        signed = self.key.sign_message(encode_defunct(body + f"{suffix} {deadline}".encode()))
        headers |= {"X-Api-Signature": "0x" + bytes(signed.signature).hex(), "X-Api-Deadline": str(deadline)}
        headers |= {"X-Api-PublicKey": self.key.address, "Content-Type": "application/json"}
        answer = requests.request(method, self.base + path, data=body, headers=headers, timeout=10)
        shown = answer.json()
        if not answer.ok or shown.get("code") != 0:
            raise Refused(answer.status_code, shown)
        return shown

    def post(self, path: str, **fields):
        return self.send("POST", path, json.dumps(fields).encode())["data"]

    def profile(self):
        return self.post("/v1/profile", urId=self.ur_id)

    def balances(self) -> dict:
        return {row["symbol"]: int(row["amount"]) for row in self.post("/v1/balance", urId=self.ur_id)}

    def offramp_quote(self, amount, to="USD", **fields):
        return self.post("/v1/deposit/quote", urId=self.ur_id, fromToken="USDC", toToken=to, amount=str(amount), **fields)

    def offramp(self, amount, to="USD", **fields):
        order = {"requestId": fresh("offramp"), **fields}
        return self.post("/v1/deposit", urId=self.ur_id, inputToken="USDC", outputToken=to, amount=str(amount), **order)

    def onramp_quote(self, amount, token="USD", **fields):
        return self.post("/v1/onramp/quote", urId=self.ur_id, fromToken=token, toToken="USDC", amount=str(amount), **fields)

    def onramp(self, quote, amount, token="USD", **fields):
        best = quote["best"]
        order = {
            "quoteId": quote["quoteId"], "requestId": fresh("onramp"), "urId": self.ur_id, "tokenIn": token, "amountIn": str(amount),
            "dstAggregator": best["to"], "dstSwapCalldata": best["swapCalldata"], "dstMinAmountOut": best["minUsdcAmount"],
            "dstTokenOut": "USDC", "dstChainId": MANTLE,
        }  # fmt: skip
        return self.post("/v1/onramp", **(order | fields))

    def exchange(self, amount, source="USD", target="EUR", **fields):
        order = {"requestId": fresh("fx"), **fields}
        return self.post("/v1/exchange", urId=self.ur_id, inputToken=source, outputToken=target, amount=str(amount), **order)

    def transactions(self, **wanted) -> list:
        return self.post("/v1/transactions", urId=self.ur_id, **wanted)

    def mint(self, wallet, by=None, email="a@example.com", **fields):
        """Seed 004, "User Signature Generation"."""
        asked = {"hash": fresh("hash"), "deadline": str(int(time.time()) + 600)} | fields
        digest = keccak(text=asked["hash"] + asked["deadline"]).hex()
        message = encode_defunct(text=f"I agree to access my profile. 0x{digest.removeprefix('0x')}")
        signature = "0x" + bytes((by or wallet).sign_message(message).signature).hex()
        return self.post("/v1/mint/nft", **({"email": email, "evmAddress": wallet.address, "signature": signature} | asked))


@pytest.fixture(scope="module")
def running():
    sandbox = Running("--users", 20, "--rate", 20)
    yield sandbox
    sandbox.kill()


@pytest.fixture
def client(running) -> Client:
    return Client(running.started["ur"], running.started["partner_key"], int(running.started["sample_user"]))


def refused(code, call, *arguments, **fields):
    with pytest.raises(Refused) as caught:
        call(*arguments, **fields)
    assert caught.value.code == code, caught.value


def test_the_account_is_shown_with_profile_and_balances(client):
    profile = client.profile()
    assert (profile["urId"], profile["chainStatus"]) == (client.ur_id, 5)
    assert profile["evmAddress"].startswith("0x") and len(profile["evmAddress"]) == 42
    assert (profile["kycCurrentStep"], profile["kycCurrentStepStr"]) == (4, "Review")
    assert (profile["kycRetryVerificationLevel"], profile["kycRetryVerificationLevelStr"]) == (0, "UNKNOWN")
    assert {row["tokenSymbol"] for row in profile["allowances"] if row["hasAllowance"]} == {"USD", "EUR", "CHF", "JPY", "CNH", "SGD", "HKD"}
    balances = client.balances()
    assert set(balances) == {"USD", "EUR", "CHF", "JPY", "CNH", "SGD", "HKD", "USDC"} and all(balances.values())
    tokens = {token["symbol"]: token for token in client.send("GET", "/v1/tokens")["data"]}
    assert set(balances) <= set(tokens) and len({token["address"] for token in tokens.values()}) == len(tokens)


def test_an_offramp_is_quoted_and_executed(client):
    before = client.balances()
    quote = client.offramp_quote(5_000_000, chainId=MANTLE, userAddress=client.wallet)
    assert quote["chainId"] == MANTLE and quote["crossChainFee"] == "0"
    assert client.offramp(5_000_000, chainId=MANTLE, userAddress=client.wallet)["txHash"].startswith("0x")
    after = client.balances()
    assert after["USD"] - before["USD"] == round(float(quote["outputAmount"]) * 100)
    assert before["USDC"] - after["USDC"] == 5_000_000
    # From another chain the bridge costs something, and needs an address.
    assert int(client.offramp_quote(5_000_000, chainId=BSC, userAddress=client.wallet)["crossChainFee"]) > 0
    refused(20001, client.offramp_quote, 5_000_000, chainId=BSC)
    refused(20003, client.offramp_quote, 5_000_000, chainId=BSC, userAddress="0xabc")
    refused(20003, client.offramp_quote, 5_000_000, chainId="eip155:1", userAddress=client.wallet)
    refused(20003, client.offramp_quote, 2_999_999)
    refused(20003, client.offramp_quote, 5_000_000, to="XXX")
    refused(20003, client.offramp, 900_000_000_000_000)


def test_an_onramp_is_quoted_and_executed(client):
    before, used = client.balances(), client.profile()["usedLimit"]
    quote = client.onramp_quote(1_000, chainId=MANTLE, slippageBps=50)
    best = quote["best"]
    assert quote["isSupport"] is True and quote["needLivenessCheck"] is False and "livenessCheckUrl" not in quote
    assert int(best["minUsdcAmount"]) == int(best["expectedUsdcAmount"]) - int(best["expectedUsdcAmount"]) * 50 // 10_000
    assert best["deadline"] > time.time() and best["slippageBps"] == 50 and quote["maxAmounts"]["USD"]
    assert client.onramp(quote, 1_000, chainId=MANTLE, withdrawAddress=client.wallet)["txHash"].startswith("0x")
    after = client.balances()
    assert (before["USD"] - after["USD"], after["USDC"]) == (1_000, before["USDC"]), "the USDC is withdrawn"
    # Without the swap's fields the USDC stays in the user's wallet.
    plain = {"quoteId": client.onramp_quote(1_000)["quoteId"], "requestId": fresh("onramp"), "urId": client.ur_id}
    client.post("/v1/onramp", **plain, tokenIn="USD", amountIn="1000")
    assert client.balances()["USDC"] == before["USDC"] + int(quote["outputAmount"])
    assert client.profile()["usedLimit"] == used + 2 * 863
    refused(20003, client.onramp_quote, 400)
    refused(20003, client.onramp_quote, 1_000_001)
    refused(20003, client.onramp_quote, 1_000, chainId=BSC)
    refused(20003, client.onramp_quote, 1_000, slippageBps=10_001)
    refused(20003, client.onramp, client.onramp_quote(1_000), 1_001)
    for wrong in ({"dstAggregator": client.wallet}, {"dstSwapCalldata": "0x12"}, {"dstMinAmountOut": "99999999"}, {"dstChainId": "mantle"}):
        refused(20003, client.onramp, client.onramp_quote(1_000), 1_000, **wrong)


def test_an_exchange_is_priced_and_executed(client):
    rate = client.post("/v1/exchangeRate", inSymbol="USD", outSymbol="EUR")
    before = client.balances()
    assert client.exchange(500)["txHash"].startswith("0x")
    after = client.balances()
    assert before["USD"] - after["USD"] == 500
    assert after["EUR"] - before["EUR"] == int(500 * float(rate["rate"]) * (2 - float(rate["exchangeSpread"])))


def test_an_order_is_executed_once(client):
    twice = {"requestId": fresh("again")}
    assert client.offramp(3_000_000, **twice) == client.offramp(3_000_000, **twice)
    refused(20003, client.offramp, 4_000_000, **twice)
    once = {"requestId": fresh("again")}
    assert client.exchange(500, **once) == client.exchange(500, **once)


def test_the_history_is_filtered_by_chain_token_and_kind(client):
    client.offramp(5_000_000)
    client.exchange(500, "CHF", "SGD")
    every = client.transactions()
    assert {row["chainId"] for row in every} == {MANTLE}
    assert client.transactions(chainId=MANTLE) == every and client.transactions(chainId="eip155:5000") == []
    refused(20003, client.transactions, chainId="mantle")
    assert [row["currency"] for row in client.transactions(symbol="CHF24")] == ["chf"]
    assert client.transactions(symbol="chf") == client.transactions(currencies=["CHF"]) == client.transactions(symbol="CHF24")
    assert {row["type"] for row in client.transactions(symbol="USDC")} == {"CDP"}
    offramp = client.transactions(type="CDP", pageSize=1)[0]
    pair = {"urId": client.ur_id, "txHash": offramp["txHash"]}
    assert client.post("/v1/transaction/query", txPairs=[pair]) == [offramp]
    refused(4001, client.post, "/v1/transaction/query", txPairs=[pair, {**pair, "txHash": "0x00"}])


def test_a_user_that_ur_does_not_know_is_an_invalid_parameter(running):
    nobody = Client(running.started["ur"], running.started["partner_key"], 1)
    for call in (nobody.profile, nobody.balances, nobody.transactions):
        refused(20003, call)
    refused(20003, nobody.offramp_quote, 5_000_000)
    refused(20003, nobody.offramp, 5_000_000)
    refused(20003, nobody.onramp_quote, 1_000)
    refused(20003, nobody.exchange, 500)
    refused(20001, nobody.post, "/v1/profile")
    with pytest.raises(Refused) as caught:
        nobody.send("POST", "/v1/profile", b"{")
    assert caught.value.code == 20002


def test_an_account_is_minted_once_for_a_wallet_that_signed(client):
    wallet, stranger = Account.create(), Account.create()
    refused(10001, client.mint, wallet, by=stranger)
    refused(10001, client.mint, wallet, deadline=str(int(time.time()) - 1))
    refused(10001, client.mint, wallet, deadline=str(int(time.time()) + 3_600))
    refused(20001, client.mint, wallet, email="")
    minted = client.mint(wallet)
    account = Client(client.base, client.key.key.hex(), int(minted["tokenId"]))
    profile = account.profile()
    assert (profile["chainStatus"], profile["clientLimit"], profile["kycCurrentStepStr"]) == (2, 100_000, "FormA")
    assert profile["evmAddress"] == wallet.address
    refused(10005, client.mint, wallet)
    assert account.onramp_quote(1_000)["isSupport"] is False
    refused(20003, account.offramp, 5_000_000)


def test_any_error_of_urs_can_be_provoked_and_tapgate_lives_with_it():
    errors = ["10016@/v1/transactions", "50003@/v1/exchangeRate", "10999@/v1/exchange", "30001@/v1/mint/nft"]
    running = Running("--users", 20, "--rate", 60, *[word for error in errors for word in ("--ur-error", error)])
    try:
        client = Client(running.started["ur"], running.started["partner_key"], int(running.started["sample_user"]))
        assert client.profile()["chainStatus"] == 5
        refused(10016, client.transactions)
        refused(10999, client.exchange, 500)
        refused(30001, client.mint, Account.create())
        refused(50003, client.post, "/v1/exchangeRate", inSymbol="USD", outSymbol="EUR")
        assert eventually(lambda: running.admin("/authorizations?limit=1")["items"])
        said = running.interrupt()
    finally:
        running.kill()
    assert (said["books"], said["journal"]) == ("equal", "equal")


def custody(client, path, body=b"{}", **headers):
    """Managed Custody: the signature covers the headers that name the account."""
    ids = {name: headers.get(name, "") for name in ("X-Ur-Id", "X-External-User-Id")}
    suffix = f"urId:{ids['X-Ur-Id']}externalUserId:{ids['X-External-User-Id']}"
    return client.send("POST", path, body, suffix, **{name: id for name, id in ids.items() if id})["data"]


def test_managed_custody_names_the_account_in_a_signed_header(client):
    own = {"X-Ur-Id": str(client.ur_id)}
    assert custody(client, "/api/fma/v1/profile", **own) == client.profile()
    shown = {row["symbol"]: row["amount"] for row in custody(client, "/api/fma/v1/balance", **own)}
    assert {symbol: round(float(amount) * (10**6 if symbol == "USDC" else 100)) for symbol, amount in shown.items()} == client.balances()
    assert all("." in amount for amount in shown.values())
    page = custody(client, "/api/fma/v1/transactions", b'{"type": "FRX"}', **own)
    assert page == client.transactions(type="FRX")
    refused(10003, custody, client, "/api/fma/v1/profile")
    refused(10001, client.send, "POST", "/api/fma/v1/profile", b"{}", **own)
    refused(10001, client.send, "POST", "/api/fma/v1/profile", b"{}", "urId:20000externalUserId:", **own)
    refused(20003, custody, client, "/api/fma/v1/profile", b'{"urId": 20000}', **own)
    refused(20003, custody, client, "/api/fma/v1/profile", **{"X-Ur-Id": "1"})


def test_tapgate_works_in_managed_custody():
    running = Running("--users", 20, "--rate", 100, "--speed", 10_000, "--faults", "all", "--seed", 4, "--account-mode", "managed_custody")
    try:
        calls = lambda: requests.get(f"{running.started['admin']}/metrics", timeout=10).text  # noqa: E731
        for path in ("profile", "balance", "transactions"):
            wanted = f'tapgate_ur_calls_total{{path="/api/fma/v1/{path}",outcome="done"}}'
            assert eventually(lambda wanted=wanted: wanted in calls(), 20), path
        assert 'path="/v1/balance",outcome' not in calls()
        said = running.interrupt()
    finally:
        running.kill()
    assert (said["books"], said["journal"], said["users_compared"]) == ("equal", "equal", "20")


@pytest.mark.parametrize("code", [10002, 50002, 10999])
def test_the_books_agree_while_ur_refuses_what_tapgate_asks(code):
    paths = ("/v1/profile", "/v1/balance", "/v1/tokens")
    done = sandbox("--for", 1, "--users", 20, "--rate", 60, *[word for path in paths for word in ("--ur-error", f"{code}@{path}")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert values(done.stdout)["books"] == "equal"


def test_a_ur_that_counts_each_spend_twice_is_found():
    running = Running("--users", 40, "--rate", 100, "--speed", 86_400, "--seed", 3, "--ur-limit-weight", 2)
    try:
        found = eventually(lambda: [alert for alert in running.admin("/alerts")["items"] if alert["kind"] == "limit_weight_differs"], 40)
        assert "decision.limit_weight = 2" in found[0]["text"], found
        said = running.interrupt()
    finally:
        running.kill()
    assert (said["books"], said["journal"], said["breaks_open"]) == ("equal", "equal", "0")


@pytest.mark.parametrize("error", ["10016", "10017@/v1/balance", "10016@/v1/cards", "@"])
def test_an_error_that_ur_does_not_have_is_wrong_usage(error):
    refused = sandbox("--ur-error", error)
    assert refused.returncode == 2 and "--ur-error" in refused.stderr, refused.stderr
