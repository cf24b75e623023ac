-- The ledger: one row for a priced attempt, new rows for corrections, none ever changed.
--
-- `made_at` is the instant inside the UUIDv7 `entry_id` and nothing else, so that the primary key is unique for the life
-- of the ledger: a replay meets its original in the same partition whatever its other fields say.
CREATE TABLE ledger (
    entry_id       uuid        NOT NULL,
    made_at        timestamptz NOT NULL,
    kind           text        NOT NULL,
    attempt_id     uuid        NOT NULL,
    corrects       uuid,
    request_id     uuid        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    priced_at      timestamptz NOT NULL,
    debit_account  text        NOT NULL,
    credit_account text        NOT NULL,
    amount_nano    bigint      NOT NULL,
    currency       text        NOT NULL,
    cost_nano_usd  bigint      NOT NULL,
    fx_rate        numeric     NOT NULL,
    fx_source      text        NOT NULL,
    fx_date        date        NOT NULL,
    price_version  text        NOT NULL,
    tariff_id      uuid        NOT NULL,
    org            text        NOT NULL,
    team           text,
    user_id        text,
    key_id         text        NOT NULL,
    session        text,
    feature        text,
    provider       text        NOT NULL,
    model          text        NOT NULL,
    usage_source   text        NOT NULL,
    lease_id       uuid,
    reserve_nano   bigint,
    -- The event as it was received: every usage bucket, latency, outcome, tags. Never a prompt.
    attempt        text        NOT NULL,
    PRIMARY KEY (entry_id, made_at),
    CONSTRAINT instant_is_the_ids CHECK (made_at = uuid_extract_timestamp(entry_id)),
    CONSTRAINT charge_or_correction CHECK (
        CASE kind
            WHEN 'charge' THEN corrects IS NULL AND attempt_id = entry_id AND amount_nano >= 0 AND cost_nano_usd >= 0
            WHEN 'correction' THEN corrects IS NOT NULL
            ELSE false
        END
    ),
    CONSTRAINT rate_is_positive CHECK (fx_rate > 0)
) PARTITION BY RANGE (made_at);

CREATE INDEX ledger_request ON ledger (request_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % refused', lower(TG_OP)
        USING ERRCODE = 'restrict_violation', HINT = 'write a correction';
END
$$;

-- A row trigger on the parent is cloned to every partition; TRUNCATE needs one on each (see ledger_add_month).
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Makes the partition of the UTC month that holds `instant`; true if it was missing. There is no default partition: rows
-- there would block the making of their own. Attaching a finished table does not block readers and writers, as
-- CREATE TABLE … PARTITION OF would.
CREATE FUNCTION ledger_add_month(instant timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', instant, 'UTC');
    after timestamptz := date_trunc('month', first + interval '32 days', 'UTC');
    name  text := 'ledger_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('farebox.ledger_add_month.' || current_schema(), 0));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING ALL)', name);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, after);
    RETURN true;
END
$$;

-- The rates that priced a charge, as they were: explaining it needs neither the package nor the row they came from.
CREATE TABLE tariff (
    tariff_id uuid PRIMARY KEY,
    rates     json NOT NULL
);

-- Attempts that have no price yet. Settled ones stay, so that a replay meets them.
CREATE TABLE suspense (
    attempt_id   uuid PRIMARY KEY,
    request_id   uuid        NOT NULL,
    reason       text        NOT NULL,
    detail       text        NOT NULL,
    provider     text        NOT NULL,
    model        text        NOT NULL,
    accounts     text[]      NOT NULL,
    occurred_at  timestamptz NOT NULL,
    suspended_at timestamptz NOT NULL,
    settled_at   timestamptz,
    attempt      text        NOT NULL
);
CREATE INDEX suspense_open ON suspense (attempt_id) WHERE settled_at IS NULL;
CREATE INDEX suspense_request ON suspense (request_id);

-- Prices on top of the seed. Rows are never changed: a new price is a new row with a later start. `seq` grows in the
-- order of commits, because rows are added under an exclusive lock.
CREATE TABLE price_override (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text        NOT NULL UNIQUE,
    provider   text        NOT NULL CHECK (provider = lower(provider)),
    model      text        NOT NULL CHECK (model = lower(model)),
    price      json        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX price_override_model ON price_override (provider, model);
