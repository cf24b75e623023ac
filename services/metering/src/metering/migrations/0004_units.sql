-- Units of a charged attempt that had no rate: tools, sounds, counters that nobody knew. They wait beside the charge, and
-- each becomes an entry of its own when its rate arrives. Settled ones stay.
CREATE TABLE suspended_unit (
    entry_id     uuid PRIMARY KEY, -- computed from the attempt's and the unit
    attempt_id   uuid        NOT NULL,
    request_id   uuid        NOT NULL,
    unit         text        NOT NULL,
    count        bigint      NOT NULL,
    detail       text        NOT NULL,
    provider     text        NOT NULL,
    model        text        NOT NULL,
    accounts     text[]      NOT NULL,
    occurred_at  timestamptz NOT NULL,
    suspended_at timestamptz NOT NULL,
    settled_at   timestamptz
);
CREATE INDEX suspended_unit_open ON suspended_unit (entry_id) WHERE settled_at IS NULL;
CREATE INDEX suspended_unit_request ON suspended_unit (request_id);

-- All that waits: whole attempts, and units beside a charge.
CREATE VIEW waiting AS
SELECT attempt_id AS entry_id, attempt_id, NULL::text AS unit, NULL::bigint AS count, request_id, reason, detail, provider,
       model, accounts, occurred_at, suspended_at, settled_at, attempt
FROM suspense
UNION ALL
SELECT entry_id, attempt_id, unit, count, request_id, 'no_rate_for_unit', detail, provider, model, accounts, occurred_at,
       suspended_at, settled_at, NULL
FROM suspended_unit;

-- An entry of a unit names the attempt, and has an id of its own.
ALTER TABLE entry DROP CONSTRAINT charge_or_correction;
ALTER TABLE entry ADD CONSTRAINT charge_or_correction
    CHECK (corrects IS NOT NULL OR (amount_nano >= 0 AND cost_nano_usd >= 0)) NOT VALID;

-- Models that answered and have no price: their calls were charged as the model that was asked for.
CREATE TABLE unknown_model (
    provider text        NOT NULL,
    model    text        NOT NULL,
    asked    text        NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (provider, model, asked)
);
