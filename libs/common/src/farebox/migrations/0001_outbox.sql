-- Messages to publish, written in the transaction of the effect they tell of, deleted when Kafka has acknowledged them.
-- A row is a batch in Kafka's own record format (`farebox.kafka.batch.unpack` reads it).
CREATE TABLE outbox (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text        NOT NULL,
    partition  int         NOT NULL,
    partitions int         NOT NULL,
    messages   int         NOT NULL CHECK (messages > 0),
    batch      bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (
    -- A queue's rows live for milliseconds: vacuum by count, not by share of a table that is nearly empty.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 50000
);
-- Compressing what is deleted at once costs more than it saves.
ALTER TABLE outbox ALTER COLUMN batch SET STORAGE EXTERNAL;

-- Messages that Kafka cannot take, with the reason: nothing is dropped, and the others go on.
CREATE TABLE outbox_dead (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text        NOT NULL,
    key     bytea,
    value   bytea,
    headers jsonb       NOT NULL,
    reason  text        NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now()
);
