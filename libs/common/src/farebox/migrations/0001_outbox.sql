-- Messages to publish, written in the transaction of the effect they tell of, deleted when Kafka has acknowledged them.
CREATE TABLE outbox (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text        NOT NULL,
    key        bytea,
    value      bytea,
    headers    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (
    -- A queue's rows live for milliseconds: vacuum by count, not by share of a table that is nearly empty.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000
);

-- Messages that Kafka cannot take, with the reason: nothing is dropped, and the others go on.
CREATE TABLE outbox_dead (
    seq        bigint PRIMARY KEY,
    topic      text        NOT NULL,
    key        bytea,
    value      bytea,
    headers    bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    reason     text        NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now()
);
