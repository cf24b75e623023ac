-- Accounts ---------------------------------------------------------------------------------------------------------

-- name: account_insert
-- The path is the parent's with the new id behind it. No row comes back when the parent is missing.
INSERT INTO account (account_id, kind, parent_id, path, name, currency, fx_rate, fx_source, fx_date, language, zone,
                     clamp, min_output_tokens, allowed_models, blocked_models, alerts)
SELECT $1, $2, parent.account_id, parent.path || $1::text, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
FROM account parent
WHERE parent.account_id = $3
RETURNING path;

-- name: account_update
-- Null means unchanged.
UPDATE account
SET name = coalesce($2, name),
    currency = coalesce($3, currency),
    fx_rate = coalesce($4, fx_rate),
    fx_source = coalesce($5, fx_source),
    fx_date = coalesce($6, fx_date),
    language = coalesce($7, language),
    zone = coalesce($8, zone),
    clamp = coalesce($9, clamp),
    min_output_tokens = coalesce($10, min_output_tokens),
    allowed_models = coalesce($11, allowed_models),
    blocked_models = coalesce($12, blocked_models),
    alerts = coalesce($13, alerts)
WHERE account_id = $1;

-- name: account_revise
UPDATE account SET revision = revision + 1 WHERE account_id = $1 RETURNING revision;

-- name: account_news
-- What `account.policy` is to say of accounts, locked as a change of them locks them.
SELECT a.account_id, a.kind, a.revision,
       EXISTS (SELECT FROM api_key k WHERE k.account_id = a.account_id AND k.revoked_at IS NOT NULL) AS is_revoked
FROM account a
WHERE a.account_id = ANY ($1::text[])
ORDER BY a.account_id
FOR NO KEY UPDATE OF a;

-- name: account_revisions
-- A page of accounts after $1 that were announced before: their first revision never is.
SELECT account_id, revision FROM account
WHERE revision > 1 AND account_id COLLATE "C" > $1
ORDER BY account_id COLLATE "C"
LIMIT $2;

-- name: accounts_on_path
-- Every account from the platform down to $1, in that order.
SELECT a.*
FROM account leaf
JOIN account a ON a.account_id = ANY (leaf.path)
WHERE leaf.account_id = $1
ORDER BY cardinality(a.path);

-- name: accounts_on_path_of_key
-- The same for the account of a key that is in force; no rows for any other key.
SELECT a.*
FROM api_key k
JOIN account leaf USING (account_id)
JOIN account a ON a.account_id = ANY (leaf.path)
WHERE k.key_hash = $1 AND k.revoked_at IS NULL
ORDER BY cardinality(a.path);

-- name: accounts
SELECT * FROM account WHERE $1::text IS NULL OR parent_id = $1 ORDER BY path LIMIT $2;

-- name: foreign_budgets
-- Money budgets above or below an account that count in another currency than $2.
SELECT b.name, b.currency
FROM budget b
JOIN account owner USING (account_id)
WHERE b.measure = 'money'
  AND b.currency <> $2
  AND (owner.account_id = ANY ($1::text[]) OR ($1::text[])[cardinality($1::text[])] = ANY (owner.path))
LIMIT 1;

-- name: foreign_accounts
-- Accounts at or below $1 that bill in another currency than $2.
SELECT account_id, currency FROM account WHERE $1 = ANY (path) AND kind <> 'platform' AND currency <> $2 LIMIT 1;

-- Keys -------------------------------------------------------------------------------------------------------------

-- name: key_insert
INSERT INTO api_key (account_id, key_hash, hint) VALUES ($1, $2, $3) RETURNING created_at;

-- name: key_revoke
-- A key revoked before keeps its first date.
UPDATE api_key SET revoked_at = coalesce(revoked_at, $2) WHERE account_id = $1 RETURNING revoked_at;

-- name: keys_below
SELECT k.account_id, a.name, a.parent_id, k.hint, k.created_at, k.revoked_at
FROM api_key k
JOIN account a USING (account_id)
WHERE $1 = ANY (a.path)
ORDER BY k.created_at, k.account_id
LIMIT $2;

-- Budgets ----------------------------------------------------------------------------------------------------------

-- name: budget_insert
INSERT INTO budget (budget_id, account_id, name, measure, currency, window_kind, zone, week_start, limit_amount, mode,
                    thresholds, narrowed_to)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: budget_update
UPDATE budget
SET name = $2, limit_amount = $3, limit_revision = $4, mode = $5, active = $6, thresholds = $7
WHERE budget_id = $1;

-- name: budget_for_update
SELECT b.*, a.kind AS account_kind, a.name AS account_name, a.path
FROM budget b
JOIN account a USING (account_id)
WHERE b.budget_id = $1
FOR NO KEY UPDATE OF b;

-- name: budgets_of
-- Every budget that sits on one of the accounts, platform first.
SELECT b.*, a.kind AS account_kind, a.name AS account_name, a.path
FROM budget b
JOIN account a USING (account_id)
WHERE b.account_id = ANY ($1::text[])
ORDER BY cardinality(a.path), b.budget_id;

-- name: budgets_named
SELECT b.*, a.kind AS account_kind, a.name AS account_name, a.path
FROM budget b
JOIN account a USING (account_id)
WHERE b.budget_id = ANY ($1::uuid[])
ORDER BY b.budget_id;

-- name: budgets_below
-- Every budget on the path of an account or below it.
SELECT b.*, a.kind AS account_kind, a.name AS account_name, a.path
FROM budget b
JOIN account a USING (account_id)
WHERE $1 = ANY (a.path) OR a.account_id = ANY ($2::text[])
ORDER BY a.path, b.budget_id
LIMIT $3;

-- Windows ----------------------------------------------------------------------------------------------------------

-- name: windows_open
-- Make the rows that are missing. The budget's row says under which limit a window begins; its share lock makes a change
-- of that limit wait, or be seen.
INSERT INTO budget_window (budget_id, window_start, window_end, is_hard, limit_amount, limit_revision)
SELECT b.budget_id, asked.window_start, asked.window_end, b.mode = 'hard' AND b.active, b.limit_amount, b.limit_revision
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS asked (budget_id, window_start, window_end)
JOIN budget b USING (budget_id)
WHERE NOT EXISTS (
    SELECT FROM budget_window w WHERE w.budget_id = asked.budget_id AND w.window_start = asked.window_start
)
ORDER BY asked.budget_id, asked.window_start
FOR SHARE OF b
ON CONFLICT DO NOTHING;

-- name: windows_for_update
-- Locked in one order by everybody: (budget_id, window_start).
SELECT w.*, b.measure
FROM budget_window w
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
JOIN budget b USING (budget_id)
ORDER BY w.budget_id, w.window_start
FOR UPDATE OF w;

-- name: windows
SELECT w.*, b.measure
FROM budget_window w
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
JOIN budget b USING (budget_id);

-- name: windows_since
-- The windows of a budget that are not over at $2.
SELECT budget_id, window_start FROM budget_window WHERE budget_id = $1 AND (window_end IS NULL OR window_end > $2);

-- name: windows_update
UPDATE budget_window w
SET posted = new.posted,
    escrowed = new.escrowed,
    suspended = new.suspended,
    limit_amount = new.limit_amount,
    limit_revision = new.limit_revision,
    is_hard = new.is_hard,
    is_over = new.is_over,
    revision = new.revision
FROM unnest($1::uuid[], $2::timestamptz[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[], $7::integer[],
            $8::boolean[], $9::boolean[], $10::bigint[])
         AS new (budget_id, window_start, posted, escrowed, suspended, limit_amount, limit_revision, is_hard, is_over,
                 revision)
WHERE w.budget_id = new.budget_id AND w.window_start = new.window_start;

-- Gateways and leases ----------------------------------------------------------------------------------------------

-- name: gateway_start
-- Locks the gateway's row; gives the epoch known before, 0 for a gateway never seen.
INSERT INTO gateway (gateway_id, epoch, seen_at)
VALUES ($1, 1, clock_timestamp())
ON CONFLICT (gateway_id) DO UPDATE SET epoch = gateway.epoch + 1, seen_at = excluded.seen_at
RETURNING epoch;

-- name: gateway_epoch
-- Shared, so that calls of one gateway run side by side while a start of a newer epoch waits for them. And how many
-- gateways there are that were heard of within $2, on the one clock that replicas share.
SELECT epoch, (SELECT count(*) FROM gateway WHERE seen_at > clock_timestamp() - $2::interval) AS live
FROM gateway
WHERE gateway_id = $1
FOR SHARE;

-- name: gateway_seen
-- Also where the clock has gone back: every heartbeat is to leave another sign of life than the last.
UPDATE gateway SET seen_at = clock_timestamp() WHERE gateway_id = $1 RETURNING epoch;

-- name: gateways
SELECT gateway_id, epoch, seen_at FROM gateway;

-- name: lease_insert
-- With its shares. A repeated request meets the lease it made before, and makes none.
WITH made AS (
    INSERT INTO lease (lease_id, gateway_id, epoch, key_id, granted_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING lease_id
)
INSERT INTO lease_share (lease_id, budget_id, window_start, granted)
SELECT made.lease_id, new.budget_id, new.window_start, new.granted
FROM made, unnest($6::uuid[], $7::timestamptz[], $8::numeric[]) AS new (budget_id, window_start, granted)
RETURNING lease_id;

-- name: shares_of
SELECT s.*, l.suspended_at IS NOT NULL AS is_suspended
FROM lease_share s
JOIN lease l USING (lease_id)
WHERE s.lease_id = ANY ($1::uuid[]);

-- name: shares_of_gateway
-- What one gateway's epochs before $2 still hold. What is in suspense stays there: the journal that knew of it is gone,
-- however whole the one is that came after.
SELECT s.*, l.suspended_at IS NOT NULL AS is_suspended
FROM lease_share s
JOIN lease l USING (lease_id)
WHERE l.gateway_id = $1 AND l.epoch < $2 AND l.suspended_at IS NULL AND s.granted > s.returned + s.posted;

-- name: shares_update
UPDATE lease_share s
SET posted = new.posted, returned = new.returned, spent = new.spent
FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::numeric[], $5::numeric[])
         AS new (lease_id, budget_id, posted, returned, spent)
WHERE s.lease_id = new.lease_id AND s.budget_id = new.budget_id;

-- name: leases_recall
-- Ask other gateways for what may lie idle in a window. Only leases of their present epoch can still answer.
UPDATE lease l
SET recalled_at = $4
FROM lease_share s, gateway g
WHERE s.budget_id = $1 AND s.window_start = $2
  AND s.granted > s.returned + s.posted
  AND l.lease_id = s.lease_id
  AND l.suspended_at IS NULL
  AND g.gateway_id = l.gateway_id
  AND g.epoch = l.epoch
  AND g.gateway_id <> $3
  AND g.seen_at > clock_timestamp() - $5::interval;

-- name: leases_recalled
-- What a gateway is asked to give back. It is told once; who is refused again asks again.
UPDATE lease
SET recalled_at = NULL
WHERE gateway_id = $1 AND epoch = $2 AND recalled_at IS NOT NULL
RETURNING lease_id;

-- name: leases_suspend
UPDATE lease SET suspended_at = $2 WHERE lease_id = ANY ($1::uuid[]) AND suspended_at IS NULL;

-- name: leases_of_the_lost
-- What gateways hold that have given no sign of life since those of $2 and $3. Locked, so that a heartbeat that comes
-- now waits.
SELECT l.lease_id
FROM lease l
JOIN gateway g USING (gateway_id)
JOIN unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS silent (gateway_id, epoch, seen_at)
  ON g.gateway_id = silent.gateway_id AND g.epoch = silent.epoch AND g.seen_at = silent.seen_at
WHERE l.suspended_at IS NULL
  AND EXISTS (SELECT FROM lease_share s WHERE s.lease_id = l.lease_id AND s.granted > s.returned + s.posted)
LIMIT $4
FOR SHARE OF g;

-- name: leases_suspended
-- Leases in suspense, the oldest first, with what each budget counts as spent because of them.
SELECT l.lease_id, l.gateway_id, l.epoch, l.key_id, l.granted_at, l.suspended_at, s.budget_id, b.name AS budget_name,
       b.currency, s.window_start, s.granted - s.returned - s.posted AS held
FROM lease l
JOIN lease_share s USING (lease_id)
JOIN budget b USING (budget_id)
WHERE l.suspended_at IS NOT NULL AND s.granted > s.returned + s.posted
ORDER BY l.suspended_at, l.lease_id, s.budget_id
LIMIT $1;

-- name: lease_release
UPDATE lease
SET released_at = $2, release_note = $3
WHERE lease_id = $1 AND suspended_at IS NOT NULL AND released_at IS NULL
RETURNING lease_id;

-- Postings and marks -----------------------------------------------------------------------------------------------

-- name: postings_insert
-- Which of the entries are new: only those count.
INSERT INTO posting (entry_id)
SELECT entry_id FROM unnest($1::uuid[]) AS new (entry_id) ORDER BY entry_id
ON CONFLICT DO NOTHING
RETURNING entry_id;

-- name: crossings_insert
INSERT INTO crossing (budget_id, window_start, limit_revision, mark, event_id, crossed_at)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::text[], $5::uuid[], $6::timestamptz[])
ON CONFLICT DO NOTHING
RETURNING event_id;

-- name: crossings_open
SELECT c.budget_id, c.window_start, c.limit_revision, c.mark
FROM crossing c
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
WHERE c.resolved_at IS NULL;

-- name: crossings_resolve
UPDATE crossing SET resolved_at = $4
WHERE budget_id = $1 AND window_start = $2 AND mark = $3 AND resolved_at IS NULL;

-- Invariants -------------------------------------------------------------------------------------------------------

-- name: invariant_within_limit
-- What is posted, in escrow and in suspense stays within a hard window's limit, unless the window says that it is over.
SELECT budget_id, window_start, limit_amount, posted, escrowed, suspended
FROM budget_window
WHERE is_hard AND NOT is_over AND posted + escrowed + suspended > limit_amount
  AND coalesce(window_end, 'infinity') >= $1::timestamptz
LIMIT 1000;

-- name: invariant_escrow_is_held
-- A window's escrow is what its leases hold, and its suspense what those hold whose gateway was lost.
SELECT w.budget_id, w.window_start, w.escrowed, coalesce(held.escrowed, 0) AS held, w.suspended,
       coalesce(held.suspended, 0) AS held_in_suspense
FROM budget_window w
LEFT JOIN (
    SELECT s.budget_id, s.window_start,
           sum(s.granted - s.returned - s.posted) FILTER (WHERE l.suspended_at IS NULL) AS escrowed,
           sum(s.granted - s.returned - s.posted) FILTER (WHERE l.suspended_at IS NOT NULL) AS suspended
    FROM lease_share s
    JOIN lease l USING (lease_id)
    WHERE s.granted > s.returned + s.posted
    GROUP BY s.budget_id, s.window_start
) held USING (budget_id, window_start)
WHERE (w.escrowed, w.suspended) IS DISTINCT FROM (coalesce(held.escrowed, 0), coalesce(held.suspended, 0))
  AND coalesce(w.window_end, 'infinity') >= $1::timestamptz
LIMIT 1000;

-- name: invariant_dead_epochs_hold_nothing
-- A gateway that has begun a new epoch has accounted for its old leases, or they are in suspense. What is not yet posted
-- of what it reported as spent is still to come.
SELECT l.lease_id, l.gateway_id, l.epoch, g.epoch AS newest, s.budget_id, s.granted, s.returned, s.posted, s.spent
FROM lease_share s
JOIN lease l USING (lease_id)
JOIN gateway g USING (gateway_id)
WHERE l.epoch < g.epoch AND l.suspended_at IS NULL
  AND s.granted > s.returned + s.posted AND s.granted - s.returned > s.spent
  AND l.granted_at >= $1::timestamptz
LIMIT 1000;

-- name: invariant_marks_are_noted
-- Every threshold that a window's spending has reached under its present limit has its row, and with it its event.
SELECT w.budget_id, w.window_start, w.limit_revision, w.limit_amount, w.posted + w.suspended AS spent, mark.id
FROM budget_window w
JOIN budget b USING (budget_id)
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.percent IS NULL THEN 'amount:' || m.amount ELSE 'percent:' || trim_scale(m.percent) END AS id,
           coalesce(m.amount, w.limit_amount * m.percent / 100) AS at
    FROM jsonb_to_recordset(b.thresholds) AS m (percent numeric, amount numeric)
) mark
WHERE b.active
  AND w.posted + w.suspended > 0
  AND w.posted + w.suspended >= mark.at
  AND coalesce(w.window_end, 'infinity') >= $1::timestamptz
  AND NOT EXISTS (
      SELECT FROM crossing c
      WHERE c.budget_id = w.budget_id AND c.window_start = w.window_start AND c.limit_revision = w.limit_revision
        AND c.mark = mark.id
  )
LIMIT 1000;

-- name: crossings_since
SELECT event_id, budget_id, window_start, limit_revision, mark, crossed_at FROM crossing WHERE crossed_at >= $1;

-- Audits -----------------------------------------------------------------------------------------------------------

-- name: audit_begin
CREATE TEMPORARY TABLE audited (entry_id uuid PRIMARY KEY) ON COMMIT DROP;

-- name: audit_posted
-- Of these entries those that were posted, each the first time it is asked for.
INSERT INTO audited (entry_id)
SELECT entry_id FROM posting WHERE entry_id = ANY ($1::uuid[])
ON CONFLICT DO NOTHING
RETURNING entry_id;

-- name: audit_windows
SELECT w.budget_id, w.window_start, w.posted, b.created_at, b.name FROM budget_window w JOIN budget b USING (budget_id);
