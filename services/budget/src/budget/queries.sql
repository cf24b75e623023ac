-- Accounts ---------------------------------------------------------------------------------------------------------

-- name: account_insert
-- The path is the parent's with the new id behind it. No row comes back when the parent is missing.
INSERT INTO account (account_id, kind, parent_id, path, name, currency, fx_rate, fx_source, fx_date, language, zone,
                     clamp, min_output_tokens, default_output_tokens, allowed_models, blocked_models, alerts,
                     uncertain_for_s)
SELECT $1, $2, parent.account_id, parent.path || $1::text, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
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
    default_output_tokens = coalesce($11, default_output_tokens),
    allowed_models = coalesce($12, allowed_models),
    blocked_models = coalesce($13, blocked_models),
    alerts = coalesce($14, alerts),
    uncertain_for_s = coalesce($15, uncertain_for_s)
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

-- name: accounts_on_paths_of_keys
-- The same for the accounts of keys that are in force; no rows for any other key.
SELECT k.key_hash, a.*
FROM api_key k
JOIN account leaf USING (account_id)
JOIN account a ON a.account_id = ANY (leaf.path)
WHERE k.key_hash = ANY ($1::text[]) AND k.revoked_at IS NULL
ORDER BY k.key_hash, cardinality(a.path);

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
                    thresholds, narrowed_to, counts_from)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: budget_harden
UPDATE budget SET hard_revision = $2, hard_since = NULL WHERE budget_id = $1;

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
SELECT w.budget_id, w.window_start, w.window_end, w.limit_amount, w.limit_revision, w.posted, w.escrowed, w.suspended,
       w.uncertain, w.is_hard, w.is_over, w.revision, b.measure
FROM budget_window w
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
JOIN budget b USING (budget_id)
ORDER BY w.budget_id, w.window_start
FOR UPDATE OF w;

-- name: windows_hold
-- Locked in the same order, and not read.
SELECT count(*)
FROM (
    SELECT
    FROM budget_window w
    JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
    ORDER BY w.budget_id, w.window_start
    FOR UPDATE OF w
) held;

-- name: windows
SELECT w.budget_id, w.window_start, w.window_end, w.limit_amount, w.limit_revision, w.posted, w.escrowed, w.suspended,
       w.uncertain, w.is_hard, w.is_over, w.revision, b.measure
FROM budget_window w
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
JOIN budget b USING (budget_id);

-- name: windows_since
-- The windows of a budget that are not over at $2.
SELECT budget_id, window_start FROM budget_window WHERE budget_id = $1 AND (window_end IS NULL OR window_end > $2);

-- Gateways and shares ----------------------------------------------------------------------------------------------

-- name: gateway_start
-- Locks the gateway's row. The process that holds the newest epoch already gets it again; any other begins the next, after
-- every epoch that its journal knows: a database set back gives none twice. Its story of the epoch before is whole where
-- it knows the newest epoch and the newest record that were told of, or later ones, which the database has forgotten.
INSERT INTO gateway AS g (gateway_id, epoch, process_id, closes_whole, seen_at)
VALUES ($1, $3 + 1, $2, $5, clock_timestamp())
ON CONFLICT (gateway_id) DO UPDATE
SET epoch = CASE WHEN g.process_id = $2 THEN g.epoch ELSE greatest(g.epoch, $3) + 1 END,
    closes_whole = CASE WHEN g.process_id = $2 THEN g.closes_whole ELSE $5 AND $3 >= g.epoch AND $4 >= g.last_record END,
    last_record = CASE WHEN g.process_id = $2 THEN g.last_record ELSE $4 END,
    process_id = $2,
    policy_revision = CASE WHEN g.process_id = $2 THEN g.policy_revision ELSE 0 END,
    superseded_at = CASE
        WHEN g.process_id IS DISTINCT FROM $2 AND NOT ($5 AND $3 >= g.epoch AND $4 >= g.last_record)
        THEN clock_timestamp() ELSE g.superseded_at
    END,
    seen_at = excluded.seen_at
RETURNING epoch, closes_whole;

-- name: gateway_epoch
-- Shared, so that calls of one gateway run side by side while a start of a newer epoch waits for them.
SELECT epoch FROM gateway WHERE gateway_id = $1 FOR SHARE;

-- name: gateway_seen
-- Also where the clock has gone back: every beat is to leave another sign of life than the last. Nothing of an epoch that
-- is over is noted. A change of policy that there is not was told by a database that was set back since: it says nothing.
UPDATE gateway
SET seen_at = clock_timestamp(), last_record = greatest(last_record, $3), policy_revision = CASE WHEN $4 <= (SELECT coalesce(max(revision), 0) FROM policy_change) THEN $4 ELSE 0 END
WHERE gateway_id = $1 AND epoch = $2
RETURNING clock_timestamp();

-- name: gateway_fence
-- End an epoch though its gateway may live: its next message is refused.
UPDATE gateway SET epoch = epoch + 1, process_id = NULL WHERE gateway_id = $1 AND epoch = $2;

-- name: gateway_signs
-- The newest sign of life of every gateway, and none of the epochs before whose shares are in suspense.
SELECT gateway_id, epoch, seen_at FROM gateway
UNION ALL
SELECT DISTINCT s.gateway_id, s.epoch, NULL::timestamptz
FROM budget_share s
JOIN gateway g USING (gateway_id)
WHERE s.epoch < g.epoch AND s.suspended_at IS NOT NULL AND s.granted + s.overdrawn > s.returned + s.posted;

-- name: shares
-- Of these windows: what anybody holds, and what one gateway's epoch has, held or not.
SELECT s.*
FROM budget_share s
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
WHERE s.granted + s.overdrawn > s.returned + s.posted OR (s.gateway_id = $3 AND s.epoch = $4);

-- name: shares_of_epoch
-- Of these windows: what one gateway's epoch has, by the window's place among those asked for. Looked up one by one
-- (OFFSET 0): a plan that begins with all that the epoch has is chosen while the table's statistics are old, and compares
-- each with each.
SELECT asked.place, (SELECT b.measure FROM budget b WHERE b.budget_id = s.budget_id),
       s.granted::text, s.returned::text, s.overdrawn::text, s.suspended_at IS NOT NULL
FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS asked (budget_id, window_start, place)
CROSS JOIN LATERAL (
    SELECT * FROM budget_share s
    WHERE s.budget_id = asked.budget_id AND s.window_start = asked.window_start AND s.gateway_id = $3 AND s.epoch = $4
    OFFSET 0
) s;

-- name: shares_named
SELECT s.*
FROM budget_share s
JOIN unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bigint[]) AS asked (budget_id, window_start, gateway_id, epoch)
    USING (budget_id, window_start, gateway_id, epoch);

-- name: shares_to_end
-- What one gateway's epochs before $2 still hold and nobody has accounted for. What is in suspense stays there.
SELECT s.*
FROM budget_share s
WHERE s.gateway_id = $1 AND s.epoch < $2 AND NOT s.is_final AND s.suspended_at IS NULL
  AND s.granted + s.overdrawn > s.returned + s.posted
ORDER BY s.budget_id, s.window_start
LIMIT $3;

-- name: positions_save
-- Windows that are locked, and shares of them, those that are new too. $12 is since when a new suspense is.
WITH windows AS (
    UPDATE budget_window w
    SET posted = new.posted,
        escrowed = new.escrowed,
        suspended = new.suspended,
        uncertain = new.uncertain,
        limit_amount = new.limit_amount,
        limit_revision = new.limit_revision,
        is_hard = new.is_hard,
        is_over = new.is_over,
        revision = new.revision
    FROM unnest($1::uuid[], $2::timestamptz[], string_to_array($3, ' ')::numeric[], string_to_array($4, ' ')::numeric[],
                string_to_array($5, ' ')::numeric[], string_to_array($6, ' ')::numeric[],
                string_to_array($7, ' ')::numeric[], string_to_array($8, ' ')::integer[],
                string_to_array($9, ' ')::boolean[], string_to_array($10, ' ')::boolean[],
                string_to_array($11, ' ')::bigint[])
             AS new (budget_id, window_start, posted, escrowed, suspended, uncertain, limit_amount, limit_revision, is_hard,
                     is_over, revision)
    WHERE w.budget_id = new.budget_id AND w.window_start = new.window_start
)
INSERT INTO budget_share AS s (budget_id, window_start, gateway_id, epoch, granted, returned, overdrawn, posted, is_final,
                               suspended_at)
SELECT new.budget_id, new.window_start, new.gateway_id, new.epoch, new.granted, new.returned, new.overdrawn, new.posted,
       new.is_final, CASE WHEN new.is_suspended THEN $12::timestamptz END
FROM unnest($13::uuid[], $14::timestamptz[], $15::text[], $16::bigint[], string_to_array($17, ' ')::numeric[],
            string_to_array($18, ' ')::numeric[], string_to_array($19, ' ')::numeric[],
            string_to_array($20, ' ')::numeric[], string_to_array($21, ' ')::boolean[],
            string_to_array($22, ' ')::boolean[])
         AS new (budget_id, window_start, gateway_id, epoch, granted, returned, overdrawn, posted, is_final, is_suspended)
ON CONFLICT (budget_id, window_start, gateway_id, epoch) DO UPDATE
SET granted = excluded.granted,
    returned = excluded.returned,
    overdrawn = excluded.overdrawn,
    posted = excluded.posted,
    is_final = excluded.is_final,
    suspended_at = CASE WHEN excluded.suspended_at IS NOT NULL THEN coalesce(s.suspended_at, excluded.suspended_at) END;

-- name: shares_take
-- An epoch's totals of shares that there are, their windows locked: of two totals the larger is true, and a window's escrow
-- moves by what its share holds more or less (`Share.reported` and `release` say the same). What is in suspense is left to
-- who can tell of it.
WITH told AS (
    SELECT budget_id, window_start, max(granted) AS granted, max(returned) AS returned, max(overdrawn) AS overdrawn
    FROM unnest($3::uuid[], $4::timestamptz[], string_to_array($5, ' ')::numeric[], string_to_array($6, ' ')::numeric[],
                string_to_array($7, ' ')::numeric[]) AS told (budget_id, window_start, granted, returned, overdrawn)
    GROUP BY budget_id, window_start
), larger AS (
    SELECT s.budget_id, s.window_start, s.posted, greatest(s.granted, told.granted) AS granted,
           greatest(s.returned, told.returned) AS returned, greatest(s.overdrawn, told.overdrawn) AS overdrawn,
           greatest(0, s.granted + s.overdrawn - s.returned - s.posted) AS held_before
    FROM told
    CROSS JOIN LATERAL (
        SELECT * FROM budget_share s
        WHERE s.budget_id = told.budget_id AND s.window_start = told.window_start AND s.gateway_id = $1 AND s.epoch = $2
        OFFSET 0
    ) s
    WHERE s.suspended_at IS NULL
), moved AS (
    SELECT *, greatest(0, granted + overdrawn - returned - posted) - held_before AS more FROM larger
), windows AS (
    UPDATE budget_window w
    SET escrowed = w.escrowed + moved.more,
        is_over = w.posted + w.escrowed + moved.more + w.suspended + w.uncertain > w.limit_amount,
        revision = w.revision + 1
    FROM moved
    WHERE w.budget_id = moved.budget_id AND w.window_start = moved.window_start
)
UPDATE budget_share s
SET granted = moved.granted, returned = moved.returned, overdrawn = moved.overdrawn
FROM moved
WHERE s.budget_id = moved.budget_id AND s.window_start = moved.window_start AND s.gateway_id = $1 AND s.epoch = $2;

-- name: shares_recall
-- Ask other gateways for what may lie idle in a window. Only those of a present epoch can still answer.
UPDATE budget_share s
SET recalled_at = $4
FROM gateway g
WHERE s.budget_id = $1 AND s.window_start = $2
  AND s.granted + s.overdrawn > s.returned + s.posted
  AND s.suspended_at IS NULL
  AND g.gateway_id = s.gateway_id
  AND g.epoch = s.epoch
  AND g.gateway_id <> $3
  AND g.seen_at > clock_timestamp() - $5::interval;

-- name: shares_recalled
-- What a gateway is asked to give back. It is told once; who is refused again asks again. Of windows that somebody works
-- on it is told with the next beat: no window is locked here, so nothing may be waited for.
WITH asked AS (
    SELECT budget_id, window_start FROM budget_share
    WHERE gateway_id = $1 AND epoch = $2 AND recalled_at IS NOT NULL
    FOR UPDATE SKIP LOCKED
)
UPDATE budget_share s
SET recalled_at = NULL
FROM asked
WHERE s.budget_id = asked.budget_id AND s.window_start = asked.window_start AND s.gateway_id = $1 AND s.epoch = $2
RETURNING s.budget_id, s.window_start;

-- name: shares_of_the_lost
-- What gateways hold that have given no sign of life since that of $3. Locked, so that a beat that comes now waits.
SELECT s.*
FROM budget_share s
JOIN gateway g USING (gateway_id, epoch)
JOIN unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS silent (gateway_id, epoch, seen_at)
  ON g.gateway_id = silent.gateway_id AND g.epoch = silent.epoch AND g.seen_at = silent.seen_at
WHERE s.suspended_at IS NULL AND s.granted + s.overdrawn > s.returned + s.posted
ORDER BY s.budget_id, s.window_start
LIMIT $4
FOR SHARE OF g;

-- name: shares_suspended
-- Shares in suspense, the oldest first.
SELECT s.gateway_id, s.epoch, s.suspended_at, s.budget_id, b.name AS budget_name, b.account_id, b.currency, s.window_start,
       s.granted + s.overdrawn - s.returned - s.posted AS held
FROM budget_share s
JOIN budget b USING (budget_id)
WHERE s.suspended_at IS NOT NULL AND s.granted + s.overdrawn > s.returned + s.posted
ORDER BY s.suspended_at, s.gateway_id, s.epoch, s.budget_id
LIMIT $1;

-- name: shares_to_release
-- What one gateway's epoch has in suspense, in one budget or in all.
SELECT s.*
FROM budget_share s
WHERE s.gateway_id = $1 AND s.epoch = $2 AND ($3::uuid IS NULL OR s.budget_id = $3)
  AND s.suspended_at IS NOT NULL AND s.granted + s.overdrawn > s.returned + s.posted
ORDER BY s.budget_id, s.window_start
LIMIT $4;

-- name: shares_note_release
UPDATE budget_share s
SET released_at = $5, release_note = $6
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bigint[]) AS named (budget_id, window_start, gateway_id, epoch)
WHERE s.budget_id = named.budget_id AND s.window_start = named.window_start AND s.gateway_id = named.gateway_id
  AND s.epoch = named.epoch;

-- name: leases_as_shares
-- Where the calls of leases of the version before were held.
SELECT l.lease_id, l.gateway_id, l.epoch, s.budget_id, s.window_start
FROM lease l
JOIN lease_share s USING (lease_id)
WHERE l.lease_id = ANY ($1::uuid[]);

-- name: leases_forget
DELETE FROM lease WHERE granted_at < $1;

-- Changes of policies ----------------------------------------------------------------------------------------------

-- name: policy_change_lock
-- One at a time until it commits: a smaller number is never seen after a larger one.
SELECT pg_advisory_xact_lock(hashtextextended('farebox.budget.policy_change', 0));

-- name: policy_change_insert
INSERT INTO policy_change (revision, account_id)
SELECT coalesce(max(revision), 0) + 1, $1 FROM policy_change
RETURNING revision;

-- name: policy_changes_since
-- The newest first, and whether all since $1 are still there.
SELECT revision, account_id FROM policy_change WHERE revision > $1 ORDER BY revision DESC LIMIT $2;

-- name: policy_change_newest
SELECT coalesce(max(revision), 0) FROM policy_change;

-- name: policy_changes_forget
-- The newest stays, whatever its age: it numbers the next.
DELETE FROM policy_change
WHERE changed_at < $1 AND revision < (SELECT max(revision) FROM policy_change);

-- name: budgets_confirmed
-- Every gateway that lives has confirmed these: from now on their limits are guaranteed. A budget that somebody is changing
-- is confirmed later, so that nobody waits here. Where a gateway began anew without the whole story of the epoch before,
-- the process of that epoch may still be at work, cut off and by policies that it learnt before: it is waited for.
WITH confirmed AS (
    SELECT budget_id FROM budget
    WHERE hard_revision IS NOT NULL AND hard_since IS NULL
      AND hard_revision <= coalesce(
          (SELECT min(policy_revision) FROM gateway WHERE seen_at > clock_timestamp() - $2::interval), hard_revision)
      AND NOT EXISTS (SELECT FROM gateway WHERE superseded_at > clock_timestamp() - $2::interval)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE budget b
SET hard_since = $1
FROM confirmed
WHERE b.budget_id = confirmed.budget_id
RETURNING b.budget_id;

-- Uncertain amounts ------------------------------------------------------------------------------------------------

-- name: uncertain_insert
INSERT INTO uncertain (attempt_id, budget_id, window_start, amount, noted_at)
SELECT new.*, $5
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::numeric[]) AS new
ON CONFLICT DO NOTHING;

-- name: uncertain_of
-- What is still open of these attempts.
SELECT attempt_id, budget_id, window_start, amount FROM uncertain WHERE attempt_id = ANY ($1::uuid[]) AND ended_at IS NULL;

-- name: uncertain_end
UPDATE uncertain SET ended_at = $2, end_note = $3 WHERE attempt_id = ANY ($1::uuid[]) AND ended_at IS NULL;

-- name: corrected_note
INSERT INTO corrected (attempt_id, noted_at) SELECT attempt_id, $2 FROM unnest($1::uuid[]) AS new (attempt_id)
ON CONFLICT DO NOTHING;

-- name: corrected_of
-- Those of the attempts whose truth was entered.
SELECT attempt_id FROM corrected WHERE attempt_id = ANY ($1::uuid[]);

-- name: uncertain_end_some
-- Of attempts and budgets, pair by pair.
UPDATE uncertain u SET ended_at = $3, end_note = $4
FROM unnest($1::uuid[], $2::uuid[]) AS pair (attempt_id, budget_id)
WHERE u.attempt_id = pair.attempt_id AND u.budget_id = pair.budget_id AND u.ended_at IS NULL;

-- name: uncertain_over
-- What counts for longer than the account of its budget, or the nearest above that says so, wants; the oldest first.
SELECT u.attempt_id, u.budget_id, u.window_start
FROM uncertain u
JOIN budget b USING (budget_id)
JOIN account owner USING (account_id)
CROSS JOIN LATERAL (
    SELECT a.uncertain_for_s AS seconds
    FROM account a
    WHERE a.account_id = ANY (owner.path) AND a.uncertain_for_s IS NOT NULL
    ORDER BY cardinality(a.path) DESC
    LIMIT 1
) AS kept
WHERE u.ended_at IS NULL
  AND kept.seconds > 0
  AND u.noted_at <= $1::timestamptz - make_interval(secs => kept.seconds)
  AND EXISTS (SELECT FROM account WHERE uncertain_for_s > 0)
ORDER BY u.noted_at, u.attempt_id, u.budget_id
LIMIT $2;

-- name: uncertain_open
-- The oldest first.
SELECT u.attempt_id, u.budget_id, b.name AS budget_name, b.account_id, b.currency, u.window_start, u.amount, u.noted_at
FROM uncertain u
JOIN budget b USING (budget_id)
WHERE u.ended_at IS NULL
ORDER BY u.noted_at, u.attempt_id, u.budget_id
LIMIT $1;

-- Postings and marks -----------------------------------------------------------------------------------------------

-- name: postings_insert
-- Which of the entries are not new, and do not count again: mostly none, so that little is sent.
WITH noted AS (
    INSERT INTO posting (entry_id)
    SELECT entry_id FROM unnest($1::uuid[]) AS new (entry_id) ORDER BY entry_id
    ON CONFLICT DO NOTHING
    RETURNING entry_id
)
SELECT ARRAY(SELECT unnest($1::uuid[]) EXCEPT SELECT entry_id FROM noted);

-- name: postings_of
-- Those of the entries that were posted.
SELECT entry_id FROM posting WHERE entry_id = ANY ($1::uuid[]);

-- name: crossings_noted
-- Of every mark that was ever crossed in the windows: the occurrence that is open, else the newest; the highest number;
-- and when people last heard of it, under whatever limit.
SELECT DISTINCT ON (c.budget_id, c.window_start, c.mark)
       c.budget_id, c.window_start, c.mark, c.limit_revision, c.occurrence, c.provisional, c.notify_people,
       c.resolved_at IS NOT NULL AS is_over,
       max(c.occurrence) OVER of_the_mark AS newest,
       max(c.crossed_at) FILTER (WHERE c.notify_people) OVER of_the_mark AS told_at
FROM crossing c
JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (budget_id, window_start) USING (budget_id, window_start)
WINDOW of_the_mark AS (PARTITION BY c.budget_id, c.window_start, c.mark)
ORDER BY c.budget_id, c.window_start, c.mark, c.resolved_at IS NOT NULL, c.limit_revision DESC, c.occurrence DESC;

-- name: crossings_end
-- Under whatever limit they were crossed.
UPDATE crossing c
SET resolved_at = $4
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) AS over (budget_id, window_start, mark)
WHERE (c.budget_id, c.window_start, c.mark) = (over.budget_id, over.window_start, over.mark) AND c.resolved_at IS NULL;

-- name: crossings_insert
-- Which of the occurrences are new: only their events are published.
INSERT INTO crossing (budget_id, window_start, limit_revision, mark, occurrence, event_id, crossed_at, resolved_at,
                      provisional, notify_people)
SELECT *
FROM unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::text[], $5::integer[], $6::uuid[], $7::timestamptz[],
            $8::timestamptz[], $9::boolean[], $10::boolean[])
ON CONFLICT DO NOTHING
RETURNING event_id;

-- Invariants -------------------------------------------------------------------------------------------------------

-- name: invariant_within_limit
-- What is posted, held, in suspense and uncertain stays within a hard window's limit, unless the window says it is over.
SELECT budget_id, window_start, limit_amount, posted, escrowed, suspended, uncertain
FROM budget_window
WHERE is_hard AND NOT is_over AND posted + escrowed + suspended + uncertain > limit_amount
  AND coalesce(window_end, 'infinity') >= $1::timestamptz
LIMIT 1000;

-- name: invariant_escrow_is_held
-- A window's escrow is what its shares hold, its suspense what those hold whose gateway was lost, and what is uncertain
-- of it are its open rows.
SELECT w.budget_id, w.window_start, w.escrowed, coalesce(held.escrowed, 0) AS held, w.suspended,
       coalesce(held.suspended, 0) AS held_in_suspense, w.uncertain, coalesce(unsure.amount, 0) AS uncertain_rows
FROM budget_window w
LEFT JOIN (
    SELECT s.budget_id, s.window_start,
           sum(s.granted + s.overdrawn - s.returned - s.posted) FILTER (WHERE s.suspended_at IS NULL) AS escrowed,
           sum(s.granted + s.overdrawn - s.returned - s.posted) FILTER (WHERE s.suspended_at IS NOT NULL) AS suspended
    FROM budget_share s
    WHERE s.granted + s.overdrawn > s.returned + s.posted
    GROUP BY s.budget_id, s.window_start
) held USING (budget_id, window_start)
LEFT JOIN (
    SELECT u.budget_id, u.window_start, sum(u.amount) AS amount
    FROM uncertain u
    WHERE u.ended_at IS NULL
    GROUP BY u.budget_id, u.window_start
) unsure USING (budget_id, window_start)
WHERE (w.escrowed, w.suspended, w.uncertain)
          IS DISTINCT FROM (coalesce(held.escrowed, 0), coalesce(held.suspended, 0), coalesce(unsure.amount, 0))
  AND coalesce(w.window_end, 'infinity') >= $1::timestamptz
LIMIT 1000;

-- name: invariant_dead_epochs_are_accounted_for
-- The shares of an epoch that is over are final, or in suspense, or hold nothing.
SELECT s.budget_id, s.window_start, s.gateway_id, s.epoch, g.epoch AS newest, s.granted, s.returned, s.overdrawn, s.posted
FROM budget_share s
JOIN gateway g USING (gateway_id)
WHERE s.epoch < g.epoch AND NOT s.is_final AND s.suspended_at IS NULL
  AND s.granted + s.overdrawn > s.returned + s.posted
  AND s.window_start >= $1::timestamptz
LIMIT 1000;

-- name: invariant_marks_are_noted
-- Every threshold that a window's spending has reached under its present limit has an occurrence that is open, and with
-- it its event; one that is not provisional where what is posted reaches it alone.
SELECT w.budget_id, w.window_start, w.limit_revision, w.limit_amount, w.posted, w.posted + w.suspended AS spent, mark.id
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
        AND c.resolved_at IS NULL
        AND NOT (c.provisional AND w.posted > 0 AND w.posted >= mark.at)
  )
LIMIT 1000;

-- name: invariant_marks_are_resolved
-- No threshold has an occurrence that is open while the window's spending is below it.
SELECT w.budget_id, w.window_start, w.limit_amount, w.posted + w.suspended AS spent, c.mark, c.occurrence
FROM crossing c
JOIN budget_window w USING (budget_id, window_start)
JOIN budget b USING (budget_id)
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.percent IS NULL THEN 'amount:' || m.amount ELSE 'percent:' || trim_scale(m.percent) END AS id,
           coalesce(m.amount, w.limit_amount * m.percent / 100) AS at
    FROM jsonb_to_recordset(b.thresholds) AS m (percent numeric, amount numeric)
) mark
WHERE b.active
  AND c.resolved_at IS NULL
  AND c.mark = mark.id
  AND NOT (w.posted + w.suspended > 0 AND w.posted + w.suspended >= mark.at)
  AND coalesce(w.window_end, 'infinity') >= $1::timestamptz
LIMIT 1000;

-- name: invariant_corrected_is_certain
-- Nothing is uncertain of an attempt whose truth was entered.
SELECT u.attempt_id, u.budget_id, u.window_start, u.amount, c.noted_at
FROM corrected c
JOIN uncertain u USING (attempt_id)
WHERE u.ended_at IS NULL AND greatest(u.noted_at, c.noted_at) >= $1::timestamptz
LIMIT 1000;

-- name: crossings_since
SELECT event_id, budget_id, window_start, limit_revision, mark, occurrence, crossed_at
FROM crossing
WHERE crossed_at >= $1;

-- Audits -----------------------------------------------------------------------------------------------------------

-- name: audit_begin
CREATE TEMPORARY TABLE audited (entry_id uuid PRIMARY KEY) ON COMMIT DROP;

-- name: audit_posted
-- Of these entries those that were posted, each the first time it is asked for.
INSERT INTO audited (entry_id)
SELECT entry_id FROM posting WHERE entry_id = ANY ($1::uuid[])
ON CONFLICT DO NOTHING
RETURNING entry_id;

-- name: audit_unposted
-- Of these entries those that were never posted.
SELECT entry_id FROM unnest($1::uuid[]) AS told (entry_id)
WHERE NOT EXISTS (SELECT FROM posting p WHERE p.entry_id = told.entry_id);

-- name: audit_windows
SELECT w.budget_id, w.window_start, w.posted, b.counts_from, b.name FROM budget_window w JOIN budget b USING (budget_id);
