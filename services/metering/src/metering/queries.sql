-- Statements of metering's store.

-- name: books_now
SELECT clock_timestamp();

-- name: prices_hold
-- Prices stay as they are until the caller's transaction ends; batches hold them together.
SELECT pg_advisory_xact_lock_shared(hashtextextended('farebox.prices.' || current_schema(), 0));

-- name: prices_change
-- Waits for the batches under way, and lets none price until the caller's transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('farebox.prices.' || current_schema(), 0));

-- name: prices_revision
SELECT coalesce(max(seq), 0) FROM price_override;

-- name: prices_all
SELECT seq, price FROM price_override ORDER BY seq;

-- name: prices_of_model
SELECT price FROM price_override WHERE provider = $1 AND model = $2 ORDER BY seq;

-- name: prices_list
-- Either filter may be null.
SELECT seq, price, created_at, ended_at
FROM price_override
WHERE ($1::text IS NULL OR provider = lower($1)) AND ($2::text IS NULL OR model = lower($2)) AND seq > $3
ORDER BY seq
LIMIT $4;

-- name: price_add
INSERT INTO price_override (id, provider, model, price) VALUES ($1, $2, $3, $4::text::json);

-- name: price_change
-- The row takes the newest place in the list, by which replicas and gateways see that prices have changed.
UPDATE price_override SET seq = DEFAULT, price = $2::text::json, ended_at = $3 WHERE id = $1;

-- name: price_revision
-- Of one model: the place of its newest row. Rows are added and changed under an exclusive lock, so it grows every time.
SELECT max(seq) FROM price_override WHERE provider = $1 AND model = $2;

-- name: price_revisions
-- A page of models in the order of their keys on `price.catalogue`, after $1.
SELECT provider || '/' || model AS key, max(seq) AS revision
FROM price_override
WHERE (provider || '/' || model) COLLATE "C" > $1
GROUP BY provider, model
ORDER BY (provider || '/' || model) COLLATE "C"
LIMIT $2;

-- name: price_moment
-- The time, and the earliest instant at which a raise made now takes effect: a lead time of $1 from now, and not before
-- what gateways were promised ends.
SELECT clock_timestamp() AS now,
       greatest(clock_timestamp() + $1::interval, (SELECT lasts_until FROM price_promise)) AS earliest;

-- name: price_promise
-- Promise gateways that they know every raise in force for a lead time of $1 from now. No row comes back where the last
-- promise is younger than $2. The clock may have gone back since: then the last promise still binds.
INSERT INTO price_promise AS p (revision, as_of, lasts_until)
VALUES (1, clock_timestamp(), clock_timestamp() + $1::interval)
ON CONFLICT (is_only) DO UPDATE SET
    revision = p.revision + 1,
    as_of = excluded.as_of,
    lasts_until = greatest(p.lasts_until, excluded.lasts_until)
WHERE p.as_of NOT BETWEEN excluded.as_of - $2::interval AND excluded.as_of
RETURNING revision, as_of;

-- name: entry_add_month
SELECT entry_add_month($1);

-- name: incoming_open
-- The session's own table for a batch, emptied by the commit. COPY into it is cheaper, on both sides, than arrays.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE incoming) ON COMMIT DELETE ROWS;

-- name: entries_add
-- The charges in `incoming`, each id once, and what they add to the rollups. Only the entries returned were new: the
-- others are in the ledger already, and add nothing. Entries and rollup rows are taken in the order of their keys, so that
-- replicas that meet on them wait for each other instead of both for ever.
WITH added AS (
    INSERT INTO entry (
        entry_id, made_at, attempt_id, request_id, occurred_at, priced_at, amount_nano, cost_nano_usd, dimension_id, terms_id,
        tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens, output_tokens, attempt
    )
    SELECT
        entry_id, uuid_extract_timestamp(entry_id), entry_id, request_id, occurred_at, $1, amount_nano, cost_nano_usd,
        dimension_id, terms_id, tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens,
        output_tokens, attempt
    FROM incoming
    ORDER BY entry_id
    ON CONFLICT DO NOTHING
    RETURNING
        entry_id, date_trunc('hour', occurred_at, 'UTC') AS hour, amount_nano, cost_nano_usd, dimension_id,
        coalesce(session, '') AS session, attempt_number, outcome, cache_hit, complexity, input_tokens, output_tokens
), by_hour AS (
    INSERT INTO usage_hour AS u (
        hour, dimension_id, session, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens,
        output_tokens, cost_nano_usd, billed_nano
    )
    SELECT
        hour,
        dimension_id,
        session,
        count(*),
        count(*) FILTER (WHERE attempt_number = 1),
        count(*) FILTER (WHERE outcome = 'success'),
        count(*) FILTER (WHERE cache_hit <> 'none'),
        count(*) FILTER (WHERE complexity = 'simple'),
        count(*) FILTER (WHERE complexity = 'medium'),
        count(*) FILTER (WHERE complexity = 'complex'),
        sum(input_tokens),
        sum(output_tokens),
        sum(cost_nano_usd),
        sum(amount_nano)
    FROM added
    GROUP BY hour, dimension_id, session
    ORDER BY hour, dimension_id, session
    ON CONFLICT (hour, dimension_id, session) DO UPDATE SET
        attempts = u.attempts + excluded.attempts,
        requests = u.requests + excluded.requests,
        succeeded = u.succeeded + excluded.succeeded,
        cache_hits = u.cache_hits + excluded.cache_hits,
        simple = u.simple + excluded.simple,
        medium = u.medium + excluded.medium,
        complex = u.complex + excluded.complex,
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
), by_day AS (
    INSERT INTO usage_day AS u (
        day, dimension_id, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens, output_tokens,
        cost_nano_usd, billed_nano
    )
    SELECT
        (hour AT TIME ZONE 'UTC')::date AS day,
        dimension_id,
        count(*),
        count(*) FILTER (WHERE attempt_number = 1),
        count(*) FILTER (WHERE outcome = 'success'),
        count(*) FILTER (WHERE cache_hit <> 'none'),
        count(*) FILTER (WHERE complexity = 'simple'),
        count(*) FILTER (WHERE complexity = 'medium'),
        count(*) FILTER (WHERE complexity = 'complex'),
        sum(input_tokens),
        sum(output_tokens),
        sum(cost_nano_usd),
        sum(amount_nano)
    FROM added
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (day, dimension_id) DO UPDATE SET
        attempts = u.attempts + excluded.attempts,
        requests = u.requests + excluded.requests,
        succeeded = u.succeeded + excluded.succeeded,
        cache_hits = u.cache_hits + excluded.cache_hits,
        simple = u.simple + excluded.simple,
        medium = u.medium + excluded.medium,
        complex = u.complex + excluded.complex,
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
)
SELECT entry_id FROM added;

-- name: correction_begin
-- Corrections of one attempt take turns.
SELECT pg_advisory_xact_lock(hashtextextended('farebox.correction.' || current_schema() || $1::uuid, 0));

-- name: correction_made
SELECT attempt_id, stated, reason, answer FROM correction WHERE correction_id = $1;

-- name: correction_waiting
-- The attempt, if it waits for its price; settlement and a redelivered event wait for the caller.
SELECT attempt, occurred_at FROM suspense WHERE attempt_id = $1 AND settled_at IS NULL FOR UPDATE;

-- name: correction_units
-- What of a charged attempt waits for its rate; settlement passes over it meanwhile.
SELECT u.unit, u.count, charge.attempt, charge.occurred_at
FROM entry AS charge
JOIN suspended_unit AS u ON u.request_id = charge.request_id AND u.attempt_id = charge.attempt_id
WHERE charge.entry_id = $1 AND charge.made_at = uuid_extract_timestamp($1) AND u.settled_at IS NULL
ORDER BY u.entry_id
FOR UPDATE OF u;

-- name: correction_entries
-- An attempt's entries; of those in the line from its charge through its corrections, whether a later one corrects it.
SELECT
    e.entry_id,
    e.occurred_at,
    e.amount_nano,
    e.cost_nano_usd,
    e.attempt,
    e.entry_id = e.attempt_id OR e.corrects IS NOT NULL AS is_in_line,
    EXISTS (SELECT FROM correction AS c WHERE c.corrects = e.entry_id) AS is_corrected
FROM entry AS charge
JOIN entry AS e ON e.request_id = charge.request_id AND e.attempt_id = charge.attempt_id
WHERE charge.entry_id = $1 AND charge.made_at = uuid_extract_timestamp($1);

-- name: correction_add
-- One entry with differences, and what it adds to the rollups: money and tokens, no attempt. What it is counted by, and
-- between whom, is as its charge says.
WITH added AS (
    INSERT INTO entry (
        entry_id, made_at, attempt_id, corrects, request_id, occurred_at, priced_at, amount_nano, cost_nano_usd,
        dimension_id, terms_id, tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens,
        output_tokens, attempt
    )
    SELECT
        $1, uuid_extract_timestamp($1), c.attempt_id, $3, c.request_id, c.occurred_at, $4, $5, $6, c.dimension_id,
        c.terms_id, $7, c.session, c.attempt_number, c.outcome, c.cache_hit, c.complexity, $8, $9, $10
    FROM entry AS c
    WHERE c.entry_id = $2 AND c.made_at = uuid_extract_timestamp($2)
    RETURNING
        entry_id, date_trunc('hour', occurred_at, 'UTC') AS hour, amount_nano, cost_nano_usd, dimension_id,
        coalesce(session, '') AS session, input_tokens, output_tokens
), by_hour AS (
    INSERT INTO usage_hour AS u (
        hour, dimension_id, session, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens,
        output_tokens, cost_nano_usd, billed_nano
    )
    SELECT hour, dimension_id, session, 0, 0, 0, 0, 0, 0, 0, input_tokens, output_tokens, cost_nano_usd, amount_nano
    FROM added
    ON CONFLICT (hour, dimension_id, session) DO UPDATE SET
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
), by_day AS (
    INSERT INTO usage_day AS u (
        day, dimension_id, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens, output_tokens,
        cost_nano_usd, billed_nano
    )
    SELECT
        (hour AT TIME ZONE 'UTC')::date, dimension_id, 0, 0, 0, 0, 0, 0, 0, input_tokens, output_tokens, cost_nano_usd,
        amount_nano
    FROM added
    ON CONFLICT (day, dimension_id) DO UPDATE SET
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
)
SELECT entry_id FROM added;

-- name: correction_note
INSERT INTO correction (correction_id, entry_id, attempt_id, corrects, stated, reason, made_at, answer)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: ledger_of_request
-- Every entry of a request that all of the accounts are on the path of, oldest first; of corrections also what was stated.
SELECT l.*, t.rates, c.correction_id, c.stated, c.reason
FROM ledger AS l JOIN tariff AS t USING (tariff_id) LEFT JOIN correction AS c USING (entry_id)
WHERE l.request_id = $1 AND l.accounts @> $2::text[]
ORDER BY l.occurred_at, l.attempt_id, l.entry_id <> l.attempt_id, l.priced_at, l.entry_id;

-- name: tariffs_add
INSERT INTO tariff (tariff_id, price_version, rates)
SELECT tariff_id, price_version, rates::json
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (tariff_id, price_version, rates)
ORDER BY tariff_id
ON CONFLICT DO NOTHING;

-- name: terms_add
INSERT INTO terms (terms_id, debit_account, credit_account, currency, fx_rate, fx_source, fx_date)
SELECT terms_id, debit_account, credit_account, currency, fx_rate, fx_source, fx_date
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::date[])
AS t (terms_id, debit_account, credit_account, currency, fx_rate, fx_source, fx_date)
ORDER BY terms_id
ON CONFLICT DO NOTHING;

-- name: dimensions_add
INSERT INTO dimension (dimension_id, org, team, user_id, key_id, feature, provider, model, currency)
SELECT dimension_id, org, team, user_id, key_id, feature, provider, model, currency
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]
) AS d (dimension_id, org, team, user_id, key_id, feature, provider, model, currency)
ORDER BY dimension_id
ON CONFLICT DO NOTHING;

-- name: suspense_add
-- An attempt that is in the ledger has its price, whatever this replica makes of it now.
INSERT INTO suspense (
    attempt_id, request_id, reason, detail, provider, model, accounts, occurred_at, suspended_at, attempt
)
SELECT
    attempt_id, request_id, reason, detail, provider, model, array_remove(ARRAY[org, team, user_id, key_id], NULL),
    occurred_at, $1, attempt
FROM unnest(
    $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::timestamptz[], $13::text[]
) AS s (attempt_id, request_id, reason, detail, provider, model, org, team, user_id, key_id, occurred_at, attempt)
WHERE NOT EXISTS (
    SELECT FROM entry AS e WHERE e.entry_id = s.attempt_id AND e.made_at = uuid_extract_timestamp(s.attempt_id)
)
ORDER BY attempt_id
ON CONFLICT DO NOTHING
RETURNING attempt_id;

-- name: units_add
-- Only of entries that are new: what a charge of before left out was settled then.
INSERT INTO suspended_unit (
    entry_id, attempt_id, request_id, unit, count, detail, provider, model, accounts, occurred_at, suspended_at
)
SELECT
    entry_id, attempt_id, request_id, unit, count, detail, provider, model,
    array_remove(ARRAY[org, team, user_id, key_id], NULL), occurred_at, $1
FROM unnest(
    $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::text[], $14::timestamptz[]
) AS u (
    entry_id, attempt_id, request_id, unit, count, detail, provider, model, org, team, user_id, key_id, occurred_at
)
ORDER BY entry_id
ON CONFLICT DO NOTHING;

-- name: units_claim
-- A page of open units for settlement, each with its attempt as the charge has it.
SELECT u.entry_id, u.unit, u.count, e.attempt, e.occurred_at
FROM suspended_unit AS u
JOIN entry AS e ON e.entry_id = u.attempt_id AND e.made_at = uuid_extract_timestamp(u.attempt_id)
WHERE u.settled_at IS NULL AND u.entry_id > $1
ORDER BY u.entry_id
LIMIT $2
FOR UPDATE OF u SKIP LOCKED;

-- name: units_close
UPDATE suspended_unit SET settled_at = $2 WHERE entry_id = ANY ($1::uuid[]) AND settled_at IS NULL;

-- name: unit_entries_add
-- Entries of units that waited, and what they add to the rollups: money alone. What they are counted by, and between whom,
-- is as the attempt's charge says.
WITH added AS (
    INSERT INTO entry (
        entry_id, made_at, attempt_id, request_id, occurred_at, priced_at, amount_nano, cost_nano_usd, dimension_id,
        terms_id, tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens, output_tokens, attempt
    )
    SELECT
        n.entry_id, uuid_extract_timestamp(n.entry_id), c.attempt_id, c.request_id, c.occurred_at, $1, n.amount_nano,
        n.cost_nano_usd, c.dimension_id, c.terms_id, n.tariff_id, c.session, c.attempt_number, c.outcome, c.cache_hit,
        c.complexity, 0, 0, c.attempt
    FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::uuid[])
    AS n (entry_id, attempt_id, amount_nano, cost_nano_usd, tariff_id)
    JOIN entry AS c ON c.entry_id = n.attempt_id AND c.made_at = uuid_extract_timestamp(n.attempt_id)
    ORDER BY n.entry_id
    ON CONFLICT DO NOTHING
    RETURNING
        entry_id, date_trunc('hour', occurred_at, 'UTC') AS hour, amount_nano, cost_nano_usd, dimension_id,
        coalesce(session, '') AS session
), by_hour AS (
    INSERT INTO usage_hour AS u (
        hour, dimension_id, session, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens,
        output_tokens, cost_nano_usd, billed_nano
    )
    SELECT hour, dimension_id, session, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(cost_nano_usd), sum(amount_nano)
    FROM added
    GROUP BY hour, dimension_id, session
    ORDER BY hour, dimension_id, session
    ON CONFLICT (hour, dimension_id, session) DO UPDATE SET
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
), by_day AS (
    INSERT INTO usage_day AS u (
        day, dimension_id, attempts, requests, succeeded, cache_hits, simple, medium, complex, input_tokens, output_tokens,
        cost_nano_usd, billed_nano
    )
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, dimension_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(cost_nano_usd),
           sum(amount_nano)
    FROM added
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (day, dimension_id) DO UPDATE SET
        cost_nano_usd = u.cost_nano_usd + excluded.cost_nano_usd,
        billed_nano = u.billed_nano + excluded.billed_nano
)
SELECT entry_id FROM added;

-- name: unknown_models_add
-- No more than $2. One that is listed is written again after a minute, so that replicas do not wait for each other on it.
INSERT INTO unknown_model AS k (provider, model, asked, first_at, last_at)
SELECT provider, model, asked, $1, $1
FROM unnest($3::text[], $4::text[], $5::text[]) AS new (provider, model, asked)
WHERE NOT EXISTS (
    SELECT FROM unknown_model AS old
    WHERE (old.provider, old.model, old.asked) = (new.provider, new.model, new.asked)
      AND old.last_at > $1::timestamptz - interval '1 minute'
) AND (
    (SELECT count(*) FROM unknown_model) < $2::int
    OR EXISTS (
        SELECT FROM unknown_model AS old
        WHERE (old.provider, old.model, old.asked) = (new.provider, new.model, new.asked)
    )
)
ORDER BY provider, model, asked
ON CONFLICT (provider, model, asked) DO UPDATE SET last_at = greatest(k.last_at, excluded.last_at);

-- name: unknown_models
SELECT provider, model, asked, first_at, last_at FROM unknown_model ORDER BY last_at DESC, provider, model, asked;

-- name: suspense_close
-- Before the ledger is written, so that settlement and a redelivered event take their locks in one order.
WITH found AS (
    SELECT attempt_id FROM suspense WHERE attempt_id = ANY ($1::uuid[]) AND settled_at IS NULL ORDER BY attempt_id FOR UPDATE
)
UPDATE suspense SET settled_at = $2 FROM found WHERE suspense.attempt_id = found.attempt_id
RETURNING suspense.attempt_id;

-- name: suspense_claim
-- A page of open attempts for settlement; those that another replica or a redelivery is at work on are left out.
SELECT attempt_id, reason, detail, attempt, occurred_at
FROM suspense
WHERE settled_at IS NULL AND attempt_id > $1
ORDER BY attempt_id
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: suspense_explain
UPDATE suspense SET reason = s.reason, detail = s.detail
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS s (attempt_id, reason, detail)
WHERE suspense.attempt_id = s.attempt_id;

-- name: suspense_open_by_reason
SELECT reason, count(*) AS attempts FROM waiting WHERE settled_at IS NULL GROUP BY reason;

-- name: suspense_list
SELECT entry_id, attempt_id, unit, count, request_id, reason, detail, provider, model, accounts, occurred_at,
       suspended_at, settled_at
FROM waiting
WHERE (settled_at IS NULL) = $1 AND entry_id > $2
ORDER BY entry_id
LIMIT $3;

-- name: suspense_of_request
SELECT entry_id, attempt_id, unit, count, reason, detail, occurred_at, suspended_at, attempt
FROM waiting
WHERE request_id = $1 AND settled_at IS NULL AND accounts @> $2::text[]
ORDER BY occurred_at, entry_id;

-- name: suspense_count
-- Attempts of all of these accounts that started in [$2, $3) and have no price, or not for all of them.
SELECT count(DISTINCT attempt_id) FROM waiting
WHERE settled_at IS NULL AND accounts @> $1::text[] AND occurred_at >= $2 AND occurred_at < $3;

-- name: usage_sums
-- Usage that has all of the accounts $1 on its path ({}: everyone's), in hours [$2, $3) and [$4, $5) and days [$3, $4), by
-- the dimension that $6 names (null: in one), by currency; the $7 that cost most.
SELECT
    CASE $6::text
        WHEN 'model' THEN d.model
        WHEN 'provider' THEN d.provider
        WHEN 'feature' THEN d.feature
        WHEN 'org' THEN d.org
        WHEN 'team' THEN d.team
        WHEN 'user' THEN d.user_id
        WHEN 'key' THEN d.key_id
        WHEN 'day' THEN u.day::text
    END AS group_key,
    d.currency,
    sum(u.attempts)::bigint AS attempts,
    sum(u.requests)::bigint AS requests,
    sum(u.succeeded)::bigint AS succeeded,
    sum(u.cache_hits)::bigint AS cache_hits,
    sum(u.input_tokens)::bigint AS input_tokens,
    sum(u.output_tokens)::bigint AS output_tokens,
    sum(u.cost_nano_usd) AS cost_nano_usd,
    sum(u.billed_nano) AS billed_nano
FROM (
    SELECT
        (hour AT TIME ZONE 'UTC')::date AS day, dimension_id, attempts, requests, succeeded, cache_hits, input_tokens,
        output_tokens, cost_nano_usd, billed_nano
    FROM usage_hour
    WHERE (hour >= $2::timestamptz AND hour < $3::timestamptz) OR (hour >= $4::timestamptz AND hour < $5::timestamptz)
    UNION ALL
    SELECT
        day, dimension_id, attempts, requests, succeeded, cache_hits, input_tokens, output_tokens, cost_nano_usd, billed_nano
    FROM usage_day
    WHERE day >= ($3::timestamptz AT TIME ZONE 'UTC')::date AND day < ($4::timestamptz AT TIME ZONE 'UTC')::date
) AS u
JOIN dimension AS d USING (dimension_id)
WHERE d.accounts @> $1::text[]
GROUP BY 1, 2
ORDER BY cost_nano_usd DESC, 1, 2
LIMIT $7;

-- name: usage_by_session
-- Hours alone know sessions.
SELECT
    nullif(u.session, '') AS group_key,
    d.currency,
    sum(u.attempts)::bigint AS attempts,
    sum(u.requests)::bigint AS requests,
    sum(u.succeeded)::bigint AS succeeded,
    sum(u.cache_hits)::bigint AS cache_hits,
    sum(u.input_tokens)::bigint AS input_tokens,
    sum(u.output_tokens)::bigint AS output_tokens,
    sum(u.cost_nano_usd) AS cost_nano_usd,
    sum(u.billed_nano) AS billed_nano
FROM usage_hour AS u JOIN dimension AS d USING (dimension_id)
WHERE u.hour >= $2::timestamptz AND u.hour < $3::timestamptz AND d.accounts @> $1::text[]
GROUP BY 1, 2
ORDER BY cost_nano_usd DESC, 1, 2
LIMIT $4;

-- name: invariant_entries_are_rolled_up
-- The sums of every hour are those of its entries.
SELECT hour, dimension_id, session, e.attempts, u.attempts AS rolled_up, e.billed_nano, u.billed_nano AS billed_rolled_up,
       e.cost_nano_usd, u.cost_nano_usd AS cost_rolled_up
FROM (
    SELECT date_trunc('hour', occurred_at, 'UTC') AS hour, dimension_id, coalesce(session, '') AS session,
           count(*) FILTER (WHERE entry_id = attempt_id) AS attempts, sum(amount_nano) AS billed_nano,
           sum(cost_nano_usd) AS cost_nano_usd, sum(input_tokens + output_tokens) AS tokens
    FROM entry
    WHERE occurred_at >= date_trunc('hour', $1::timestamptz, 'UTC')
    GROUP BY 1, 2, 3
) AS e
FULL JOIN (
    SELECT hour, dimension_id, session, attempts, billed_nano, cost_nano_usd, input_tokens + output_tokens AS tokens
    FROM usage_hour
    WHERE hour >= date_trunc('hour', $1::timestamptz, 'UTC')
) AS u USING (hour, dimension_id, session)
WHERE (e.attempts, e.billed_nano, e.cost_nano_usd, e.tokens)
          IS DISTINCT FROM (u.attempts, u.billed_nano, u.cost_nano_usd, u.tokens)
LIMIT 1000;

-- name: invariant_days_are_their_hours
-- The sums of every day are those of its hours.
SELECT day, dimension_id, h.attempts, d.attempts AS of_the_day, h.billed_nano, d.billed_nano AS billed_of_the_day
FROM (
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, dimension_id, sum(attempts)::bigint AS attempts,
           sum(billed_nano) AS billed_nano, sum(cost_nano_usd) AS cost_nano_usd
    FROM usage_hour
    WHERE (hour AT TIME ZONE 'UTC')::date >= ($1::timestamptz AT TIME ZONE 'UTC')::date
    GROUP BY 1, 2
) AS h
FULL JOIN (
    SELECT day, dimension_id, attempts, billed_nano, cost_nano_usd
    FROM usage_day
    WHERE day >= ($1::timestamptz AT TIME ZONE 'UTC')::date
) AS d USING (day, dimension_id)
WHERE (h.attempts, h.billed_nano, h.cost_nano_usd) IS DISTINCT FROM (d.attempts, d.billed_nano, d.cost_nano_usd)
LIMIT 1000;

-- name: invariant_suspense_is_not_charged
-- An attempt waits for its price or has its entry, never both, and never neither once it is settled.
SELECT s.attempt_id, s.suspended_at, s.settled_at, e.entry_id
FROM suspense AS s
LEFT JOIN entry AS e ON e.entry_id = s.attempt_id AND e.made_at = uuid_extract_timestamp(s.attempt_id)
WHERE (s.settled_at IS NULL) <> (e.entry_id IS NULL) AND s.suspended_at >= $1::timestamptz
LIMIT 1000;

-- name: invariant_units_are_charged_once
-- A unit without a rate waits beside its attempt's charge or has an entry of its own, never both, and never neither.
SELECT u.entry_id, u.attempt_id, u.unit, u.settled_at, e.entry_id AS entry, c.entry_id AS charge
FROM suspended_unit AS u
LEFT JOIN entry AS e ON e.entry_id = u.entry_id AND e.made_at = uuid_extract_timestamp(u.entry_id)
LEFT JOIN entry AS c ON c.entry_id = u.attempt_id AND c.made_at = uuid_extract_timestamp(u.attempt_id)
WHERE ((u.settled_at IS NULL) <> (e.entry_id IS NULL) OR c.entry_id IS NULL) AND u.suspended_at >= $1::timestamptz
UNION ALL
SELECT e.entry_id, e.attempt_id, NULL, NULL, e.entry_id, NULL
FROM entry AS e
WHERE e.corrects IS NULL AND e.entry_id <> e.attempt_id AND e.made_at >= $1::timestamptz
  AND NOT EXISTS (SELECT FROM suspended_unit AS u WHERE u.entry_id = e.entry_id)
LIMIT 1000;

-- name: invariant_entries_can_be_explained
-- Every entry has its terms, its tariff and its dimension, and is billed at the rate of its terms.
SELECT e.entry_id, e.amount_nano, e.cost_nano_usd, t.fx_rate
FROM entry AS e
LEFT JOIN terms AS t USING (terms_id)
LEFT JOIN tariff AS p USING (tariff_id)
LEFT JOIN dimension AS d USING (dimension_id)
WHERE e.made_at >= $1::timestamptz
  AND (
      t.terms_id IS NULL OR p.tariff_id IS NULL OR d.dimension_id IS NULL
      OR (e.corrects IS NULL AND abs(e.amount_nano - e.cost_nano_usd * t.fx_rate) > 0.5)
  )
LIMIT 1000;

-- name: invariant_corrections_are_entries
-- Every correction is in the ledger, as an entry that names another of its attempt.
SELECT c.correction_id, c.attempt_id, c.entry_id, c.corrects, e.corrects AS named, before.attempt_id AS named_attempt
FROM correction AS c
LEFT JOIN entry AS e ON e.entry_id = c.entry_id AND e.made_at = uuid_extract_timestamp(c.entry_id)
LEFT JOIN entry AS before ON before.entry_id = c.corrects AND before.made_at = uuid_extract_timestamp(c.corrects)
WHERE c.made_at >= $1::timestamptz
  AND (e.attempt_id, e.corrects, before.attempt_id) IS DISTINCT FROM (c.attempt_id, c.corrects, c.attempt_id)
LIMIT 1000;

-- name: invariant_nothing_is_charged_below_zero
-- The charge and the corrections of an attempt come to no negative amount.
SELECT e.attempt_id, sum(e.amount_nano) AS billed_nano, sum(e.cost_nano_usd) AS cost_nano_usd
FROM (SELECT DISTINCT attempt_id FROM correction WHERE made_at >= $1::timestamptz) AS c
JOIN entry AS charge ON charge.entry_id = c.attempt_id AND charge.made_at = uuid_extract_timestamp(c.attempt_id)
JOIN entry AS e ON e.request_id = charge.request_id AND e.attempt_id = c.attempt_id
GROUP BY e.attempt_id
HAVING sum(e.amount_nano) < 0 OR sum(e.cost_nano_usd) < 0
LIMIT 1000;

-- Audits -----------------------------------------------------------------------------------------------------------

-- name: audit_begin
CREATE TEMPORARY TABLE audited (entry_id uuid PRIMARY KEY) ON COMMIT DROP;

-- name: audit_announced
-- Entries that were announced with their amount.
INSERT INTO audited (entry_id)
SELECT told.entry_id
FROM unnest($1::uuid[], $2::bigint[]) AS told (entry_id, billed_nano)
JOIN entry e ON e.entry_id = told.entry_id AND e.made_at = uuid_extract_timestamp(told.entry_id)
WHERE e.amount_nano = told.billed_nano
ON CONFLICT DO NOTHING;

-- name: audit_unannounced
SELECT e.entry_id, e.attempt_id, e.amount_nano, e.priced_at
FROM entry e
WHERE e.priced_at >= $1 AND NOT EXISTS (SELECT FROM audited a WHERE a.entry_id = e.entry_id)
LIMIT 1000;

-- name: audit_unbooked
-- Of these attempts those that are neither in the ledger nor in suspense.
SELECT attempt_id FROM unnest($1::uuid[]) AS told (attempt_id)
WHERE NOT EXISTS (
    SELECT FROM entry e WHERE e.entry_id = told.attempt_id AND e.made_at = uuid_extract_timestamp(told.attempt_id)
) AND NOT EXISTS (SELECT FROM suspense s WHERE s.attempt_id = told.attempt_id);
