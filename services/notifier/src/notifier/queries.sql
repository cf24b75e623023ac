-- Alerts -----------------------------------------------------------------------------------------------------------

-- name: alert_insert
-- A row comes back only for the first sight of an event: it alone makes deliveries.
INSERT INTO alert (event_id, type, occurred_at, account, path, notify_people, event)
VALUES ($1, $2, $3, $4, $5, $6, $7::json)
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id;

-- name: alerts
-- Newest first (event ids are UUIDv7), of accounts whose path goes through $1, before the cursor $2; null means any.
SELECT alert.*,
       coalesce((
           SELECT json_agg(json_build_object('channel_id', channel_id, 'channel', channel.name, 'kind', channel.kind,
                                             'state', delivery.state, 'finished_at', delivery.finished_at) ORDER BY delivery_id)
           FROM delivery JOIN channel USING (channel_id)
           WHERE delivery.event_id = alert.event_id
       ), '[]') AS deliveries
FROM alert
WHERE ($1::text IS NULL OR path @> ARRAY[$1::text])
  AND ($2::uuid IS NULL OR event_id < $2)
ORDER BY event_id DESC
LIMIT $3;

-- name: alert_acknowledge
-- The first acknowledgement stays.
UPDATE alert
SET acknowledged_at = coalesce(acknowledged_at, now()),
    acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $2 ELSE acknowledged_by END,
    note = CASE WHEN acknowledged_at IS NULL THEN $3 ELSE note END
WHERE event_id = $1
RETURNING event_id, acknowledged_at, acknowledged_by, note;

-- Channels ---------------------------------------------------------------------------------------------------------

-- name: channels_on_path
-- Shared lock: a channel deleted meanwhile waits, so that its deliveries made here are cancelled with it.
SELECT * FROM channel WHERE account = ANY ($1::text[]) AND state = 'active' ORDER BY channel_id FOR SHARE;

-- name: channel_insert
INSERT INTO channel (channel_id, account, kind, name, recipients, url, event_types, secret_sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING *;

-- name: channel
SELECT * FROM channel WHERE channel_id = $1 AND state <> 'deleted';

-- name: channel_for_update
SELECT * FROM channel WHERE channel_id = $1 AND state <> 'deleted' FOR UPDATE;

-- name: channels
-- Of account $1 (null means any), newest first, before the cursor $2.
SELECT * FROM channel
WHERE state <> 'deleted'
  AND ($1::text IS NULL OR account = $1)
  AND ($2::uuid IS NULL OR channel_id < $2)
ORDER BY channel_id DESC
LIMIT $3;

-- name: channel_update
UPDATE channel
SET name = $2, recipients = $3, url = $4, event_types = $5, state = $6, disabled_reason = $7, updated_at = now()
WHERE channel_id = $1
RETURNING *;

-- name: channel_disable
UPDATE channel SET state = 'disabled', disabled_reason = $2, updated_at = now()
WHERE channel_id = $1 AND state = 'active'
RETURNING channel_id;

-- name: channel_rotate
-- The old secret goes on signing beside the new one for the overlap $3.
UPDATE channel
SET previous_secret_sealed = secret_sealed,
    previous_secret_until = now() + $3::interval,
    secret_sealed = $2,
    updated_at = now()
WHERE channel_id = $1 AND kind = 'webhook' AND state <> 'deleted'
RETURNING *;

-- name: channel_delete
WITH deleted AS (
    UPDATE channel
    SET state = 'deleted', secret_sealed = NULL, previous_secret_sealed = NULL, previous_secret_until = NULL,
        updated_at = now()
    WHERE channel_id = $1 AND state <> 'deleted'
    RETURNING channel_id
), cancelled AS (
    UPDATE delivery
    SET state = 'cancelled', finished_at = now(), claimed_until = NULL
    FROM deleted
    WHERE delivery.channel_id = deleted.channel_id AND delivery.state = 'pending'
)
SELECT channel_id FROM deleted;

-- Deliveries -------------------------------------------------------------------------------------------------------

-- name: deliveries_insert
INSERT INTO delivery (delivery_id, event_id, channel_id)
SELECT made.delivery_id, $1, made.channel_id
FROM unnest($2::uuid[], $3::uuid[]) AS made (delivery_id, channel_id)
ON CONFLICT (event_id, channel_id) DO NOTHING;

-- name: deliveries_claim
-- At most $4 due deliveries, for lease $6, at most $3 a channel counting what is in flight here ($1, $2). A claim that
-- ran out is due again, and its attempt is marked abandoned. One clock, the database's, judges for all replicas.
WITH waiting AS (
    SELECT DISTINCT channel_id
    FROM delivery
    WHERE state = 'pending' AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
), due AS (
    SELECT next.delivery_id
    FROM waiting
    JOIN channel USING (channel_id)
    LEFT JOIN unnest($1::uuid[], $2::int[]) AS busy (channel_id, in_flight) USING (channel_id)
    CROSS JOIN LATERAL (
        SELECT delivery_id, next_attempt_at
        FROM delivery
        WHERE delivery.channel_id = waiting.channel_id
          AND state = 'pending' AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
        ORDER BY next_attempt_at
        LIMIT greatest($3::int - coalesce(busy.in_flight, 0), 0)
        FOR UPDATE SKIP LOCKED
    ) AS next
    WHERE channel.state = 'active'
    ORDER BY next.next_attempt_at
    LIMIT $4
), claimed AS (
    UPDATE delivery
    SET attempts = attempts + 1, claimed_until = now() + $6::interval
    FROM due
    WHERE delivery.delivery_id = due.delivery_id
    RETURNING delivery.*
), abandoned AS (
    UPDATE attempt
    SET verdict = 'abandoned'
    FROM claimed
    WHERE attempt.delivery_id = claimed.delivery_id AND attempt.verdict IS NULL
), begun AS (
    INSERT INTO attempt (delivery_id, number, instance)
    SELECT delivery_id, attempts, $5 FROM claimed
)
SELECT claimed.delivery_id, claimed.event_id, claimed.channel_id, claimed.attempts, claimed.accepted,
       channel.kind, channel.recipients, channel.url, channel.secret_sealed,
       CASE WHEN channel.previous_secret_until > now() THEN channel.previous_secret_sealed END AS previous_secret_sealed,
       alert.type, alert.occurred_at, alert.event
FROM claimed
JOIN channel USING (channel_id)
JOIN alert USING (event_id);

-- name: delivery_finish
-- Ends attempt $2. No row comes back when another replica has taken over, or the delivery was cancelled meanwhile.
UPDATE delivery
SET state = $3,
    next_attempt_at = now() + coalesce($4::interval, '0'),
    claimed_until = NULL,
    accepted = accepted || $5::text[],
    last_status = $6,
    last_error = $7,
    finished_at = CASE WHEN $3 = 'pending' THEN NULL ELSE now() END
WHERE delivery_id = $1 AND attempts = $2 AND state = 'pending'
RETURNING delivery_id;

-- name: attempt_finish
UPDATE attempt SET duration_ms = $3, verdict = $4, status = $5, error = $6 WHERE delivery_id = $1 AND number = $2;

-- name: deliveries
-- Newest first, of channel $1 in state $2 (null means any), before the cursor $3.
SELECT delivery.*, channel.account, channel.kind, alert.type
FROM delivery
JOIN channel USING (channel_id)
JOIN alert USING (event_id)
WHERE ($1::uuid IS NULL OR delivery.channel_id = $1)
  AND ($2::text IS NULL OR delivery.state = $2)
  AND ($3::uuid IS NULL OR delivery_id < $3)
ORDER BY delivery_id DESC
LIMIT $4;

-- name: delivery
SELECT delivery.*, channel.account, channel.kind, alert.type
FROM delivery
JOIN channel USING (channel_id)
JOIN alert USING (event_id)
WHERE delivery_id = $1;

-- name: attempts
SELECT number, instance, started_at, duration_ms, verdict, status, error
FROM attempt
WHERE delivery_id = $1
ORDER BY number;

-- name: backlog
SELECT channel.kind, count(*) AS due, extract(epoch FROM now() - min(delivery.next_attempt_at))::float8 AS oldest_s
FROM delivery
JOIN channel USING (channel_id)
WHERE delivery.state = 'pending' AND channel.state = 'active'
  AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
GROUP BY channel.kind;
