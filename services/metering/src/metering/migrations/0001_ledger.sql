-- What repeats from entry to entry is stored once, under an id that is computed from it (128 bits of BLAKE2b), and never
-- changed: entries and rollup rows stay narrow, and whoever meets a new combination first stores it.

-- What usage is counted by.
CREATE TABLE dimension (
    dimension_id uuid PRIMARY KEY,
    org          text NOT NULL,
    team         text,
    user_id      text,
    key_id       text NOT NULL,
    feature      text,
    provider     text NOT NULL,
    model        text NOT NULL,
    currency     text NOT NULL,
    accounts     text[] GENERATED ALWAYS AS (array_remove(ARRAY[org, team, user_id, key_id], NULL)) STORED
);
CREATE INDEX dimension_accounts ON dimension USING gin (accounts);

-- Between which accounts a transfer is made, in which currency, and at what rate cost became that currency.
CREATE TABLE terms (
    terms_id       uuid    PRIMARY KEY,
    debit_account  text    NOT NULL,
    credit_account text    NOT NULL,
    currency       text    NOT NULL,
    fx_rate        numeric NOT NULL CHECK (fx_rate > 0),
    fx_source      text    NOT NULL,
    fx_date        date    NOT NULL
);

-- The rates that priced a charge, as they were: explaining it needs neither the package nor the row they came from.
CREATE TABLE tariff (
    tariff_id     uuid PRIMARY KEY,
    price_version text NOT NULL,
    rates         json NOT NULL
);

-- The ledger: one row for a priced attempt, new rows for corrections, none ever changed. To be read through `ledger`.
--
-- `made_at` is the instant inside the UUIDv7 `entry_id` and nothing else, so that the primary key is unique for the life
-- of the ledger: a replay meets its original in the same partition whatever its other fields say.
CREATE TABLE entry (
    entry_id       uuid        NOT NULL,
    made_at        timestamptz NOT NULL,
    attempt_id     uuid        NOT NULL,
    corrects       uuid,
    request_id     uuid        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    priced_at      timestamptz NOT NULL,
    amount_nano    bigint      NOT NULL,
    cost_nano_usd  bigint      NOT NULL,
    dimension_id   uuid        NOT NULL,
    terms_id       uuid        NOT NULL,
    tariff_id      uuid        NOT NULL,
    session        text,
    attempt_number int         NOT NULL,
    outcome        text        NOT NULL,
    cache_hit      text        NOT NULL,
    complexity     text,
    input_tokens   bigint      NOT NULL,
    output_tokens  bigint      NOT NULL,
    -- The event as it was received: every usage bucket, lease, latency, tags. Never a prompt.
    attempt        text        NOT NULL,
    PRIMARY KEY (entry_id, made_at),
    CONSTRAINT instant_is_the_ids CHECK (made_at = uuid_extract_timestamp(entry_id)),
    CONSTRAINT charge_or_correction CHECK (
        corrects IS NOT NULL OR (attempt_id = entry_id AND amount_nano >= 0 AND cost_nano_usd >= 0)
    )
) PARTITION BY RANGE (made_at);

CREATE INDEX entry_request ON entry (request_id);

-- The shape of charges on their way into `entry`. Every session fills a temporary table of this name and shape, which
-- hides this one; here nothing can be stored.
CREATE TABLE incoming (
    entry_id       uuid,
    request_id     uuid,
    occurred_at    timestamptz,
    amount_nano    bigint,
    cost_nano_usd  bigint,
    dimension_id   uuid,
    terms_id       uuid,
    tariff_id      uuid,
    session        text,
    attempt_number int,
    outcome        text,
    cache_hit      text,
    complexity     text,
    input_tokens   bigint,
    output_tokens  bigint,
    attempt        text,
    CONSTRAINT only_a_shape CHECK (false)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % refused', lower(TG_OP)
        USING ERRCODE = 'restrict_violation', HINT = 'write a correction';
END
$$;

-- A row trigger on the parent is cloned to every partition; TRUNCATE needs one on each (see entry_add_month).
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Makes the partition of the UTC month that holds `instant`; true if it was missing. There is no default partition: rows
-- there would block the making of their own. Attaching a finished table does not block readers and writers, as
-- CREATE TABLE … PARTITION OF would.
CREATE FUNCTION entry_add_month(instant timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', instant, 'UTC');
    after timestamptz := date_trunc('month', first + interval '32 days', 'UTC');
    name  text := 'entry_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('farebox.entry_add_month.' || current_schema(), 0));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE entry INCLUDING ALL)', name);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE entry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, after);
    RETURN true;
END
$$;

-- Entries with everything that is said of them elsewhere.
CREATE VIEW ledger AS
SELECT
    e.entry_id,
    e.made_at,
    CASE WHEN e.corrects IS NULL THEN 'charge' ELSE 'correction' END AS kind,
    e.attempt_id,
    e.corrects,
    e.request_id,
    e.occurred_at,
    e.priced_at,
    t.debit_account,
    t.credit_account,
    e.amount_nano,
    t.currency,
    e.cost_nano_usd,
    t.fx_rate,
    t.fx_source,
    t.fx_date,
    p.price_version,
    e.tariff_id,
    d.org,
    d.team,
    d.user_id,
    d.key_id,
    d.accounts,
    e.session,
    d.feature,
    d.provider,
    d.model,
    e.attempt_number,
    e.outcome,
    e.cache_hit,
    e.complexity,
    e.input_tokens,
    e.output_tokens,
    coalesce(e.attempt::json #>> '{usage,source}', 'reported') AS usage_source,
    (e.attempt::json #>> '{lease,lease_id}')::uuid AS lease_id,
    (e.attempt::json #>> '{lease,reserve_nano}')::bigint AS reserve_nano,
    e.attempt
FROM entry AS e
JOIN dimension AS d USING (dimension_id)
JOIN terms AS t USING (terms_id)
JOIN tariff AS p USING (tariff_id);

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
