-- Statements of the tables that every service has.

-- name: outbox_enqueue
-- Rows get their seq in the order of the arrays.
INSERT INTO outbox (topic, key, value, headers)
SELECT topic, key, value, headers
FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) WITH ORDINALITY AS m (topic, key, value, headers, place)
ORDER BY place;

-- name: outbox_lead
-- One relay of a schema publishes at a time, for the length of its transaction: a key's order needs it.
SELECT pg_try_advisory_xact_lock(hashtextextended('farebox.outbox.' || current_schema(), 0));

-- name: outbox_take
-- Removes the oldest messages and hands them over; they are back if the transaction does not commit.
DELETE FROM outbox
WHERE seq = ANY (ARRAY(SELECT seq FROM outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING seq, topic, key, value, headers, created_at;

-- name: outbox_bury
INSERT INTO outbox_dead (seq, topic, key, value, headers, created_at, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: outbox_backlog
-- How many messages wait, and for how many seconds the oldest has.
SELECT count(*) AS depth, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_age_s
FROM outbox;
