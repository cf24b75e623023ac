-- Statements of the tables that every service has.

-- name: outbox_enqueue
-- Rows get their seq in the order of the arrays.
INSERT INTO outbox (topic, partition, partitions, messages, batch)
SELECT topic, partition, partitions, messages, batch
FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::bytea[])
     WITH ORDINALITY AS b (topic, partition, partitions, messages, batch, place)
ORDER BY place;

-- name: outbox_bury
INSERT INTO outbox_dead (topic, key, value, headers, reason)
VALUES ($1, $2, $3, $4::jsonb, $5);

-- name: outbox_lead
-- One relay of a schema publishes at a time, for the length of its transaction: a key's order needs it.
SELECT pg_try_advisory_xact_lock(hashtextextended('farebox.outbox.' || current_schema(), 0));

-- name: outbox_take
-- Removes the oldest batches, at most $1 and about $2 bytes, and hands them over; they are back if this transaction
-- does not commit.
DELETE FROM outbox
WHERE seq = ANY (ARRAY(
    SELECT seq
    FROM (
        SELECT seq, sum(bytes) OVER (ORDER BY seq) - bytes AS bytes_before
        FROM (
            SELECT seq, octet_length(batch) AS bytes FROM outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED
        ) AS oldest
    ) AS summed
    WHERE bytes_before < $2
))
RETURNING seq, topic, partition, partitions, messages, batch;

-- name: outbox_waiting
SELECT topic, partition, partitions, messages, batch FROM outbox WHERE topic = $1 ORDER BY seq;

-- name: outbox_backlog
-- How many messages wait, and for how many seconds the oldest has.
SELECT coalesce(sum(messages), 0)::bigint AS depth,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_age_s
FROM outbox;

-- name: offsets_note
-- Where a group goes on after a batch, one row a partition; returns where it went on before, as this transaction sees it.
WITH batch AS (
    SELECT topic, partition, next_offset
    FROM unnest($2::text[], $3::int[], $4::bigint[]) AS b (topic, partition, next_offset)
), noted AS (
    INSERT INTO consumer_offset (group_id, topic, partition, next_offset)
    SELECT $1, topic, partition, next_offset FROM batch ORDER BY topic, partition
    ON CONFLICT (group_id, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
)
SELECT before.topic, before.partition, before.next_offset
FROM consumer_offset AS before JOIN batch USING (topic, partition)
WHERE before.group_id = $1;

-- name: offsets_of_group
SELECT topic, partition, next_offset FROM consumer_offset WHERE group_id = $1;

-- name: durability
-- As they are in this session: a role may have its own.
SELECT name, setting
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names');
