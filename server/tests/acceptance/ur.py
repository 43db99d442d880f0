"""A simulated UR for tests: books of its own, and the API of seeds 003 and 004 over real HTTP.

It checks the partner's signatures by eth-account and signs its webhooks as UR does. What it says is under the test's hand: a
test moves money here and sees what tapgate makes of it. It shares no code with the program.
"""

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from eth_account import Account
from eth_account.messages import encode_defunct

from tapgate import PARTNER_KEY, UR_KEY, fresh, now, sign

OPS = "9999"


def display(amount: int) -> str:
    return f"{'-' if amount < 0 else '+'}{Decimal(abs(amount)).scaleb(-2):.2f}"


class Ur:
    """Accounts, balances and transactions by the contract; what each call is answered with may be overridden."""

    def __init__(self):
        self.lock = threading.RLock()
        self.profiles, self.balances, self.rows = {}, {OPS: {}}, []
        self.rates = {("USD", "EUR"): ("0.9168", "1.0150"), ("EUR", "USD"): ("1.0907", "1.0150"), ("CHF", "USD"): ("1.1587", "1.0150")}
        self.chf = {"EUR": "0.9453", "USD": "0.863"}
        self.calls, self.refused = [], []
        # Deposits by their requestId: (account, token, USDC, hash). What they cost, and how they are going.
        self.deposits, self.fee, self.deposit_status = {}, Decimal("0.02"), "pending"
        self.lost_answers = set()
        self.faults = {}
        self.page_size_max = 100
        self.sign_answers = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    # --- books

    def open(self, ur_id, status=5, used=0, client=100_000, start=None, fiat=None):
        self.profiles[str(ur_id)] = {
            "urId": int(ur_id), "chainStatus": status, "usedLimit": used, "clientLimit": client,
            "startLimitDate": now() - 86_400 if start is None else start,
            "allowances": [{"tokenSymbol": code, "hasAllowance": True} for code in (fiat or {})],
        }  # fmt: skip
        self.balances[str(ur_id)] = dict(fiat or {})

    def transaction(self, ur_id, amount, currency="EUR", status="completed", tx_hash=None, **fields) -> dict:
        """Money out where negative. The pool pays for completed card debits, as with source CRYPTO."""
        row = self.row(ur_id, amount, currency, status, tx_hash, **fields)
        with self.lock:
            self.rows = [old for old in self.rows if (old["txHash"], old["type"]) != (row["txHash"], row["type"])]
            self.rows.append(row)
            if status == "completed" and currency in self.balances[OPS]:
                self.balances[OPS][currency] += amount
        return row

    @staticmethod
    def row(ur_id, amount, currency="EUR", status="completed", tx_hash=None, **fields) -> dict:
        """TransactionData of seed 003."""
        return {
            "urId": str(ur_id), "title": "Café", "subtitle": "", "amount": display(amount), "type": "CRD",
            "timestamp": now(), "currency": currency.lower(), "direction": "OUT" if amount < 0 else "IN",
            "txHash": tx_hash or f"0x{fresh('hash')}", "status": status, **fields,
        }  # fmt: skip

    # --- HTTP

    def answer(self, path, asked):
        """(status, body) for a verified call."""
        with self.lock:
            fault = self.faults.get(path)
            if fault:
                return fault(asked)
            if path == "/v1/tokens":
                fiat = [{"symbol": code, "name": code, "address": "0x0", "decimals": 2, "isFiat": True} for code in ("USD", "EUR", "CHF")]
                return 200, {"code": 0, "message": "success", "data": [*fiat, {"symbol": "USDC", "decimals": 6, "isFiat": False}]}
            if path == "/v1/exchangeRate":
                return self._rate(asked["inSymbol"], asked["outSymbol"])
            if path == "/v1/transactions":
                return 200, self._page(asked)
            if path == "/v1/deposit/quote":
                output = self._output(asked["toToken"], asked["amount"])
                return 200, {"code": 0, "message": "success", "data": {"outputAmount": str(output), "totalFee": "0.05"}}
            if path == "/v1/deposit":
                return self._deposit(asked)
            if path == "/v1/transaction/query":
                wanted = [(str(pair["urId"]), pair["txHash"]) for pair in asked["txPairs"]]
                rows = [row for row in self.rows if (row["urId"], row["txHash"]) in wanted]
                found = {(row["urId"], row["txHash"]) for row in rows}
                if not found.issuperset(wanted):
                    return 200, {"code": 4001, "message": "transaction not found"}
                return 200, {"code": 0, "message": "success", "data": rows}
            ur_id = str(asked.get("urId"))
            if path == "/v1/profile" and ur_id in self.profiles:
                return 200, {"code": 0, "message": "success", "data": self.profiles[ur_id]}
            if path == "/v1/balance" and ur_id in self.balances:
                rows = [{"symbol": code, "amount": str(Decimal(amount).scaleb(-2))} for code, amount in self.balances[ur_id].items()]
                return 200, {"code": 0, "message": "success", "data": rows}
            return 404, {"code": 20003, "message": "no such thing"}

    def _output(self, token, amount) -> Decimal:
        """What an amount of USDC becomes: a display decimal, rounded down."""
        rate = Decimal(self.rates.get(("USD", token), ("1.0000",))[0])
        return (Decimal(amount).scaleb(-6) * rate * (1 - self.fee)).quantize(Decimal("0.01"), "ROUND_DOWN")

    def _deposit(self, asked):
        """Made once for a requestId; a repetition must be the same in everything."""
        made = (str(asked["urId"]), asked["outputToken"], int(asked["amount"]), f"0x{asked['requestId'].replace('-', '')}")
        if self.deposits.setdefault(asked["requestId"], made) != made or asked["inputToken"] != "USDC":
            return 200, {"code": 20003, "message": "the requestId was used for another request"}
        cents = int(self._output(asked["outputToken"], asked["amount"]).scaleb(2))
        if not any(row["txHash"] == made[3] for row in self.rows):
            row = self.row(made[0], cents, made[1], self.deposit_status, made[3], partnerRefId=asked["requestId"])
            self.rows.append({**row, "type": "CDP", "title": "Deposit"})
        return 200, {"code": 0, "message": "success", "data": {"txHash": made[3]}}

    def arrive(self, tx_hash) -> int:
        """UR's operations credit a deposit: the transaction is completed, and the ops account's balance rises."""
        with self.lock:
            row = next(row for row in self.rows if row["txHash"] == tx_hash)
            row["status"] = "completed"
            cents = int(Decimal(row["amount"]).scaleb(2))
            self.balances[OPS][row["currency"].upper()] += cents
            return cents

    def _rate(self, source, target):
        if target == "CHF" and source in self.chf:
            rate, spread = self.chf[source], "1.0000"
        else:
            rate, spread = self.rates.get((source, target), ("1.0000", "1.0000"))
        return 200, {"code": 0, "message": "", "data": {"rate": rate, "exchangeSpread": spread}}

    def _page(self, asked):
        rows = [row for row in self.rows if row["urId"] == str(asked["urId"])]
        rows = [row for row in rows if asked.get("type") in (None, row["type"])]
        rows = [row for row in rows if row["timestamp"] >= asked.get("fromTimestamp", 0)]
        size, begin = min(asked.get("pageSize", 50), self.page_size_max), asked.get("cursorId", 0)
        page, more = rows[begin : begin + size], begin + size < len(rows)
        cursor = {"timestamp": now(), "id": begin + size} if more else None
        return {"code": 0, "message": "", "data": page, "hasNextPage": more, "nextCursor": cursor, "currentPageSize": len(page)}

    def _handler(self):
        ur = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self._respond()

            def do_POST(self):
                self._respond()

            def _respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                deadline = self.headers.get("X-Api-Deadline", "")
                message = body + b" " + deadline.encode()
                signature = self.headers.get("X-Api-Signature", "0x00")
                try:
                    signer = Account.recover_message(encode_defunct(message), signature=signature)
                except Exception:
                    signer = None
                fresh_enough = deadline.isdigit() and now() <= int(deadline) <= now() + 300
                if signer != PARTNER_KEY.address or not fresh_enough:
                    ur.refused.append((self.path, signer, deadline))
                    status, said = 401, {"code": 10001, "message": "Invalid request signature"}
                else:
                    asked = json.loads(body) if body else {}
                    ur.calls.append((self.path, asked))
                    status, said = ur.answer(self.path, asked)
                    if self.path in ur.lost_answers:
                        # It is done, and nobody hears of it.
                        self.close_connection = True
                        return
                out = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(out)))
                if ur.sign_answers:
                    self.send_header("X-Api-Signature", sign(out, UR_KEY))
                self.end_headers()
                self.wfile.write(out)

        return Handler
