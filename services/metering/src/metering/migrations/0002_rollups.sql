-- Whatever usage is counted by, once: rollup rows name it by an id that is computed from it, so that they stay narrow.
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

-- Room on every page, and no index on a count: then an update stays on its page and touches no index.
CREATE TABLE usage_hour (
    hour          timestamptz NOT NULL,
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
    PRIMARY KEY (hour, dimension_id)
) WITH (fillfactor = 80);

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

-- By hour alone: a session seldom outlives a few.
CREATE TABLE usage_session (
    hour          timestamptz NOT NULL,
    session       text        NOT NULL,
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
    PRIMARY KEY (session, hour, dimension_id)
) WITH (fillfactor = 80);
CREATE INDEX usage_session_hour ON usage_session USING brin (hour);
