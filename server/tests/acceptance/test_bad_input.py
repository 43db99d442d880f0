"""What is not a well-formed request gets an error of the fixed form, in the documented order, and changes nothing."""

import json

import pytest

from tapgate import BODY_BYTES_MAX, STRANGER_KEY, WEBHOOK, error_code, now, send_raw, sign_v1
from world import NOTHING, World, approval, changes, envelope, tap


@pytest.fixture(scope="module")
def world(new_server):
    """Taps of zero show here that a message was understood: they must leave no trace."""
    return World(new_server(config={"decision": {"zero_amount_holds": 0}})).furnished()


@pytest.fixture(scope="module")
def user(world):
    """Nothing in this module may touch his figures, so one suffices; what is approved here is in euros."""
    return world.user("CHF")


@pytest.fixture(autouse=True)
def without_effect(world, user):
    before = world.figures(user)
    yield
    assert changes(before, world.figures(user)) == NOTHING


def assert_error(answer, status, code=None):
    assert answer.status_code == status, answer.text
    told = error_code(answer)
    assert code in (None, told)


def post_signed(world, body: bytes):
    return world.server.post(body, sign_v1(body))


# --- 400: malformed ------------------------------------------------------------------------------------------------


def nested(levels: int) -> list:
    inside: list = []
    for _ in range(levels - 1):
        inside = [inside]
    return inside


def literal(text: str):
    """Puts `text` unquoted where the amount stands: for JSON that Python would not write."""
    return lambda data: envelope({**data, "transactionAmount": "@"}).replace(b'"@"', text.encode("latin-1"))


BROKEN_BODIES = {
    "empty": lambda data: b"",
    "blank": lambda data: b" \n",
    "not JSON": lambda data: b"authorizationId=1&approve=yes",
    "cut off": lambda data: envelope(data)[:-1],
    "trailing text": lambda data: envelope(data) + b"x",
    "two documents": lambda data: envelope(data) * 2,
    "trailing comma": lambda data: envelope(data)[:-1] + b",}",
    "single quotes": lambda data: envelope(data).replace(b'"', b"'"),
    "an array": lambda data: b"[" + envelope(data) + b"]",
    "null": lambda data: b"null",
    "a number": lambda data: b"1",
    "not UTF-8": lambda data: envelope(data).replace("é".encode(), b"\xe9"),
    "not UTF-8 in an ignored field": lambda data: envelope({**data, "note": "@"}).replace(b"@", b"\xff\xfe"),
    "an overlong UTF-8 form": lambda data: envelope(data).replace("é".encode(), b"\xc0\xaf"),
    "UTF-16": lambda data: envelope(data).decode().encode("utf-16"),
    "a raw NUL in a string": lambda data: envelope(data).replace(b"pos", b"p\x00s"),
    "a NUL after the end": lambda data: envelope(data) + b"\x00",
    "NaN": literal("NaN"),
    "a hexadecimal amount": literal("0x10"),
    "data is missing": lambda data: json.dumps({"event": "card_authorization", "timestamp": now()}).encode(),
    "data is null": lambda data: envelope(None),
    "data is a string": lambda data: envelope(json.dumps(data)),
    "data is an array": lambda data: envelope([data]),
    "nested 20 levels": lambda data: envelope({**data, "note": nested(20)}),
    "nested 30,000 levels": lambda data: envelope({**data, "note": "@"}).replace(b'"@"', b"[" * 30_000 + b"]" * 30_000),
    "30,000 levels never closed": lambda data: b'{"data":' + b'{"a":' * 10_000,
}


@pytest.mark.parametrize("broken", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_a_broken_body_is_malformed(world, user, broken):
    data = tap(user)
    assert_error(post_signed(world, broken(data)), 400, "malformed")
    assert world.is_unknown(data["authorizationId"])


REQUIRED = ["authorizationId", "urId", "cardId", "transactionAmount", "transactionCurrency"]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("how", ["missing", "null"])
def test_a_required_field_must_be_there(world, user, name, how):
    data = tap(user)
    if how == "missing":
        del data[name]
    else:
        data[name] = None
    assert_error(post_signed(world, envelope(data)), 400, "malformed")


@pytest.mark.parametrize("kind", ["incremental", "reversal", "advice"])
def test_what_follows_an_authorization_must_name_it(world, user, kind):
    data = tap(user, type=kind)
    assert_error(post_signed(world, envelope(data)), 400, "malformed")
    del data["originalAuthorizationId"]
    assert_error(post_signed(world, envelope(data)), 400, "malformed")


BAD_AMOUNTS = {
    "negative": "-5",
    "signed": "+5",
    "leading zero": "01250",
    "two zeros": "00",
    "decimal": "12.50",
    "exponent": "1e3",
    "19 digits": "1000000000000000000",
    "100 digits": "9" * 100,
    "empty": "",
    "blank": " ",
    "padded": " 1250",
    "with newline": "1250\n",
    "thousands": "1,250",
    "hexadecimal": "0x10",
    "other digits": "١٢٣",
    "NUL": "12\x0050",
    "a negative integer": -5,
    "a 19-digit integer": 10**18,
    "a 30-digit integer": 10**30,
    "a float": 12.5,
    "true": True,
    "a list": ["1250"],
    "an object": {"amount": "1250"},
}


@pytest.mark.parametrize("amount", BAD_AMOUNTS.values(), ids=BAD_AMOUNTS.keys())
def test_a_bad_amount_is_malformed(world, user, amount):
    data = tap(user, transactionAmount=amount)
    assert_error(post_signed(world, envelope(data)), 400, "malformed")
    assert world.is_unknown(data["authorizationId"])


@pytest.mark.parametrize("currency", ["eur", "EU", "EURO", "E R", "€UR", "", "Eur", 978, True, ["EUR"]], ids=repr)
def test_a_bad_currency_is_malformed(world, user, currency):
    assert_error(post_signed(world, envelope(tap(user, transactionCurrency=currency))), 400, "malformed")


BAD_IDS = {
    "empty": "",
    "129 bytes": "a" * 129,
    "10,000 bytes": "a" * 10_000,
    "a space": "auth 1",
    "only a space": " ",
    "a newline": "auth\n1",
    "a NUL": "auth\x001",
    "a DEL": "auth\x7f1",
    "not ASCII": "auth_é",
    "an integer": 7,
    "true": True,
    "a list": ["auth_1"],
    "an object": {"id": "auth_1"},
}


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS.keys())
def test_a_bad_authorization_id_is_malformed(world, user, bad):
    assert_error(post_signed(world, envelope(tap(user, authorizationId=bad))), 400, "malformed")


WRONG_TYPES = [
    ("urId", {"id": 1}),
    ("urId", True),
    ("urId", 1.5),
    ("cardId", 7),
    ("cardId", []),
]


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES, ids=[f"{name}={value!r}" for name, value in WRONG_TYPES])
def test_a_required_field_of_the_wrong_type_is_malformed(world, user, name, value):
    assert_error(post_signed(world, envelope(tap(user, **{name: value}))), 400, "malformed")


UNDOCUMENTED = {
    "an unknown type": {"type": "refund"},
    "a lone surrogate": {"channel": "\ud800"},
    "merchant as a string": {"merchant": "Café"},
    "partial approval as a string": {"partialApprovalAllowed": "yes"},
    "an overlong urId": {"urId": "9" * 5000},
    "a NUL in the card id": {"cardId": "card\x00"},
    "an overlong card id": {"cardId": "c" * 5000},
    "a negative settlement amount": {"settlementAmount": "-1", "settlementCurrency": "EUR"},
}


@pytest.mark.parametrize("fields", UNDOCUMENTED.values(), ids=UNDOCUMENTED.keys())
def test_oddities_the_interface_does_not_rule_on_are_never_a_server_error(world, user, fields):
    """Refused, declined or ignored; what is ignored must not lead to more than a plain approval, which costs 0 here."""
    body = json.dumps({"event": "card_authorization", "timestamp": now(), "data": tap(user, 0, **fields)}).encode()
    answer = post_signed(world, body)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert_error(answer, 400, "malformed")


@pytest.mark.parametrize("timestamp", [None, "", "now", -1, 1.5, 10**30, [1]], ids=repr)
def test_without_a_proper_timestamp_nothing_is_decided(world, user, timestamp):
    """Whether such an envelope is stale or malformed is not said; it is refused either way."""
    data = tap(user)
    body = json.dumps({"event": "card_authorization", "timestamp": timestamp, "data": data}).encode()
    answer = post_signed(world, body)
    assert answer.status_code in (400, 401)
    error_code(answer)
    assert world.is_unknown(data["authorizationId"])


def test_moderate_nesting_of_ignored_fields_is_allowed(world):
    data = tap(world.user())
    body = envelope({**data, "note": nested(10)})
    answer = post_signed(world, body)
    assert (answer.status_code, answer.json()) == (200, approval(data))


# --- 404, 405, 413, 415 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/ur/x", "/webhooks/UR", "/healthz", "/api/v1/pools"])
def test_other_paths_do_not_exist_on_the_public_listener(world, path):
    answer = world.server.session().post(world.server.public_url + path, data=b"{}", timeout=20)
    assert_error(answer, 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(world, method):
    answer = world.server.session().request(method, world.server.public_url + WEBHOOK, timeout=20)
    assert_error(answer, 405)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_a_content_type_that_is_not_json_is_unsupported(world, user, content_type):
    data = tap(user)
    body = envelope(data)
    assert_error(world.server.post(body, sign_v1(body), content_type), 415)
    assert world.is_unknown(data["authorizationId"])


def padded(data, size: int) -> bytes:
    """A valid request of exactly this many bytes."""
    empty = len(envelope({**data, "padding": ""}))
    return envelope({**data, "padding": "x" * (size - empty)})


def test_the_largest_body_is_accepted(world):
    data = tap(world.user())
    body = padded(data, BODY_BYTES_MAX)
    assert len(body) == BODY_BYTES_MAX
    answer = post_signed(world, body)
    assert (answer.status_code, answer.json()) == (200, approval(data))


def head(*headers: str, path=WEBHOOK, content_type="application/json") -> bytes:
    """The head of a request on a bare socket."""
    lines = [f"POST {path} HTTP/1.1", "Host: tapgate", f"Content-Type: {content_type}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def signature_line(body: bytes, key=None) -> str:
    (line,) = (f"{name}: {value}" for name, value in (sign_v1(body, key) if key else sign_v1(body)).items())
    return line


def chunked(body: bytes, size=8192) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_one_byte_more_is_too_large(world, user):
    data = tap(user)
    body = padded(data, BODY_BYTES_MAX + 1)
    answer = send_raw(world.server, head(signature_line(body), f"Content-Length: {len(body)}"), body)
    assert_error(answer, 413)
    assert world.is_unknown(data["authorizationId"])


def test_a_body_announced_as_too_large_is_refused_without_being_sent(world):
    assert_error(send_raw(world.server, head(f"Content-Length: {BODY_BYTES_MAX + 1}")), 413)


def test_an_absurd_content_length_is_refused(world):
    assert_error(send_raw(world.server, head("Content-Length: 9223372036854775807")), 413)


def test_a_chunked_body_is_accepted(world):
    data = tap(world.user())
    body = envelope(data)
    answer = send_raw(world.server, head(signature_line(body), "Transfer-Encoding: chunked"), chunked(body, 50))
    assert (answer.status_code, answer.json()) == (200, approval(data))


def test_a_chunked_body_without_a_length_is_too_large_as_well(world, user):
    data = tap(user)
    body = padded(data, BODY_BYTES_MAX + 1)
    answer = send_raw(world.server, head(signature_line(body), "Transfer-Encoding: chunked"), chunked(body))
    assert_error(answer, 413)
    assert world.is_unknown(data["authorizationId"])


# --- 408 -----------------------------------------------------------------------------------------------------------


def test_a_body_that_does_not_come_times_out(world, user):
    data = tap(user)
    body = envelope(data)
    half = body[: len(body) // 2]
    # The answer comes while the connection waits for the other half.
    answer = send_raw(world.server, head(signature_line(body), f"Content-Length: {len(body)}"), half)
    assert_error(answer, 408)
    assert world.is_unknown(data["authorizationId"])


def test_a_chunked_body_that_does_not_end_times_out(world, user):
    body = envelope(tap(user))
    endless = chunked(body).removesuffix(b"0\r\n\r\n")
    answer = send_raw(world.server, head(signature_line(body), "Transfer-Encoding: chunked"), endless)
    assert_error(answer, 408)


# --- the order of these checks -------------------------------------------------------------------------------------


def test_the_path_comes_before_the_size(world):
    assert_error(send_raw(world.server, head(f"Content-Length: {BODY_BYTES_MAX + 1}", path="/nowhere")), 404)


def test_the_size_comes_before_the_content_type(world):
    answer = send_raw(world.server, head(f"Content-Length: {BODY_BYTES_MAX + 1}", content_type="text/plain"))
    assert_error(answer, 413)


def test_the_content_type_comes_before_a_slow_body(world):
    assert_error(send_raw(world.server, head("Content-Length: 1000", content_type="text/plain"), b"{"), 415)


def test_two_content_types_are_none_that_is_read(world):
    assert_error(send_raw(world.server, head("Content-Type: application/json", "Content-Length: 2"), b"{}"), 415)


def test_the_content_type_comes_before_the_signature(world, user):
    assert_error(world.server.post(envelope(tap(user)), {}, "text/plain"), 415)


def test_a_slow_body_comes_before_the_signature(world):
    assert_error(send_raw(world.server, head("Content-Length: 1000"), b"{"), 408)


def test_the_size_comes_before_the_signature(world, user):
    body = padded(tap(user), BODY_BYTES_MAX + 1)
    answer = send_raw(world.server, head(signature_line(body, STRANGER_KEY), f"Content-Length: {len(body)}"), body)
    assert_error(answer, 413)


def test_the_signature_comes_before_the_form(world):
    for body in (b"not JSON", b"", b"\xff", envelope({})):
        assert_error(world.server.post(body, sign_v1(body, STRANGER_KEY)), 401)
        assert_error(world.server.post(body, {}), 401)


def test_a_stale_timestamp_comes_before_a_missing_field(world, user):
    data = tap(user)
    del data["cardId"]
    body = envelope(data, now() - 1000)
    assert_error(world.server.post(body, sign_v1(body)), 401, "stale_timestamp")


def test_the_form_comes_before_a_known_id(world, user):
    known = world.approve(tap(user, 0))
    assert_error(post_signed(world, envelope({**known, "transactionAmount": "-1"})), 400, "malformed")


def test_the_server_is_well_after_all_this(world):
    world.approve(tap(world.user()))
    assert world.server.admin("GET", "/readyz", role=None).status_code == 200
