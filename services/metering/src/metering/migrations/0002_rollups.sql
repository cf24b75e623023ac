-- Sums of entries, written in the statement that writes the entries.
--
-- Room on every page, and no index on a count: then an update stays on its page and touches no index.

-- By UTC hour, down to the session ('' where a call belongs to none).
CREATE TABLE usage_hour (
    hour          timestamptz NOT NULL,
    dimension_id  uuid        NOT NULL,
    session       text        NOT NULL,
    attempts      bigint      NOT NULL,
    requests      bigint      NOT NULL,
    succeeded     bigint      NOT NULL,
    cache_hits    bigint      NOT NULL,
    simple        bigint      NOT NULL,
    medium        bigint      NOT NULL,
    complex       bigint      NOT NULL,
    input_tokens  bigint      NOT NULL,
    output_tokens bigint      NOT NULL,
    cost_nano_usd numeric(38, 0) NOT NULL,
    billed_nano   numeric(38, 0) NOT NULL,
    PRIMARY KEY (hour, dimension_id, session)
) WITH (fillfactor = 80);

-- By UTC day, without the session.
CREATE TABLE usage_day (
    day           date        NOT NULL,
    dimension_id  uuid        NOT NULL,
    attempts      bigint      NOT NULL,
    requests      bigint      NOT NULL,
    succeeded     bigint      NOT NULL,
    cache_hits    bigint      NOT NULL,
    simple        bigint      NOT NULL,
    medium        bigint      NOT NULL,
    complex       bigint      NOT NULL,
    input_tokens  bigint      NOT NULL,
    output_tokens bigint      NOT NULL,
    cost_nano_usd numeric(38, 0) NOT NULL,
    billed_nano   numeric(38, 0) NOT NULL,
    PRIMARY KEY (day, dimension_id)
) WITH (fillfactor = 80);
