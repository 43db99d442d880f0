-- The same authorization in PostgreSQL: an id decided once, a user's limit and funds, one shared pool, a durable row.
CREATE TABLE users (
    id     bigint PRIMARY KEY,
    used   bigint NOT NULL,
    client bigint NOT NULL,
    funds  bigint NOT NULL,
    held   bigint NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE pools (currency text PRIMARY KEY, available bigint NOT NULL) WITH (fillfactor = 10);
CREATE TABLE authorizations (
    id      text PRIMARY KEY,
    user_id bigint NOT NULL,
    amount  bigint NOT NULL,
    answer  text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
INSERT INTO users SELECT n, 0, 900000000000, 900000000000, 0 FROM generate_series(0, 99999) AS n;
INSERT INTO pools VALUES ('EUR', 900000000000000);

CREATE FUNCTION authorize(asked text, who bigint, asked_amount bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    known text;
    chf   bigint := asked_amount * 945 / 1000;
BEGIN
    INSERT INTO authorizations (id, user_id, amount, answer) VALUES (asked, who, asked_amount, 'approved')
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT answer INTO known FROM authorizations WHERE id = asked;
        RETURN known;
    END IF;
    UPDATE users SET used = used + chf, held = held + asked_amount
    WHERE id = who AND used + chf <= client AND held + asked_amount <= funds;
    IF NOT FOUND THEN
        UPDATE authorizations SET answer = 'limit_exceeded' WHERE id = asked;
        RETURN 'limit_exceeded';
    END IF;
    -- Last, so that the row everybody wants is held for as short as can be.
    UPDATE pools SET available = available - asked_amount WHERE currency = 'EUR' AND available >= asked_amount;
    IF NOT FOUND THEN
        UPDATE users SET used = used - chf, held = held - asked_amount WHERE id = who;
        UPDATE authorizations SET answer = 'pool_exhausted' WHERE id = asked;
        RETURN 'pool_exhausted';
    END IF;
    RETURN 'approved';
END $$;
