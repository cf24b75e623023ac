-- Shares take the place of leases: one row for what one gateway epoch holds of one window, in totals that only grow.

ALTER TABLE budget_window ADD COLUMN uncertain numeric(38, 0) NOT NULL DEFAULT 0 CHECK (uncertain >= 0);
ALTER TABLE budget_window DROP CONSTRAINT within_limit;
ALTER TABLE budget_window ADD CONSTRAINT within_limit
    CHECK (posted + escrowed + suspended + uncertain <= limit_amount OR is_over OR NOT is_hard);

-- Entries of calls that began before this instant never post to the budget. Since `hard_since` its limit is guaranteed:
-- every gateway that lives has confirmed the change of policy `hard_revision`.
ALTER TABLE budget ADD COLUMN counts_from timestamptz;
UPDATE budget SET counts_from = created_at;
ALTER TABLE budget ALTER COLUMN counts_from SET NOT NULL;
ALTER TABLE budget ALTER COLUMN counts_from SET DEFAULT now();
ALTER TABLE budget ADD COLUMN hard_revision bigint;
ALTER TABLE budget ADD COLUMN hard_since timestamptz;
UPDATE budget SET hard_since = created_at WHERE mode = 'hard' AND active;
CREATE INDEX budget_hardening ON budget (hard_revision) WHERE hard_revision IS NOT NULL AND hard_since IS NULL;

-- What gateways are told of with their next beat. Numbered under a lock, so that a smaller number never appears later.
CREATE TABLE policy_change (
    revision   bigint PRIMARY KEY,
    account_id text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- `process_id` is the process that was given the epoch; `last_record` the newest record of its journal that it told of;
-- `closes_whole` whether its start was the whole story of the epoch before.
ALTER TABLE gateway ADD COLUMN process_id uuid;
ALTER TABLE gateway ADD COLUMN last_record bigint NOT NULL DEFAULT 0;
ALTER TABLE gateway ADD COLUMN closes_whole boolean NOT NULL DEFAULT false;
ALTER TABLE gateway ADD COLUMN policy_revision bigint NOT NULL DEFAULT 0;
-- When an epoch was ended by one that did not know all of it.
ALTER TABLE gateway ADD COLUMN superseded_at timestamptz;

CREATE TABLE budget_share (
    budget_id    uuid NOT NULL,
    window_start timestamptz NOT NULL,
    gateway_id   text NOT NULL,
    epoch        bigint NOT NULL,
    granted      numeric(38, 0) NOT NULL DEFAULT 0 CHECK (granted >= 0),
    returned     numeric(38, 0) NOT NULL DEFAULT 0 CHECK (returned >= 0),
    overdrawn    numeric(38, 0) NOT NULL DEFAULT 0 CHECK (overdrawn >= 0),
    posted       numeric(38, 0) NOT NULL DEFAULT 0,
    is_final     boolean NOT NULL DEFAULT false,
    recalled_at  timestamptz,
    suspended_at timestamptz,
    released_at  timestamptz,
    release_note text,
    PRIMARY KEY (budget_id, window_start, gateway_id, epoch),
    FOREIGN KEY (budget_id, window_start) REFERENCES budget_window,
    CHECK ((released_at IS NULL) = (release_note IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX budget_share_held ON budget_share (budget_id, window_start)
    WHERE granted + overdrawn > returned + posted;
CREATE INDEX budget_share_of_gateway ON budget_share (gateway_id, epoch)
    WHERE granted + overdrawn > returned + posted;
CREATE INDEX budget_share_recalled ON budget_share (gateway_id) WHERE recalled_at IS NOT NULL;

-- One row an attempt and budget: what its provider may have billed beyond the charge. Counts in the window until it ends.
CREATE TABLE uncertain (
    attempt_id   uuid NOT NULL,
    budget_id    uuid NOT NULL,
    window_start timestamptz NOT NULL,
    amount       numeric(38, 0) NOT NULL CHECK (amount > 0),
    noted_at     timestamptz NOT NULL,
    ended_at     timestamptz,
    end_note     text,
    PRIMARY KEY (attempt_id, budget_id),
    FOREIGN KEY (budget_id, window_start) REFERENCES budget_window,
    CHECK ((ended_at IS NULL) = (end_note IS NULL))
);
CREATE INDEX uncertain_open ON uncertain (noted_at) WHERE ended_at IS NULL;

-- Leases become one share of their epoch. What each held stays held, also where another was overspent; and so does what
-- was spent above a lease, which it held nothing for. Epochs that are over have said what they spent.
INSERT INTO budget_share (budget_id, window_start, gateway_id, epoch, granted, returned, overdrawn, posted, is_final,
                          suspended_at)
SELECT s.budget_id, s.window_start, l.gateway_id, l.epoch, sum(s.granted), sum(s.returned),
       sum(greatest(0, s.granted - s.returned - s.posted, s.spent - s.posted)) - sum(s.granted - s.returned - s.posted),
       sum(s.posted), l.epoch < g.epoch AND max(l.suspended_at) IS NULL, max(l.suspended_at)
FROM lease_share s
JOIN lease l USING (lease_id)
JOIN gateway g USING (gateway_id)
GROUP BY s.budget_id, s.window_start, l.gateway_id, l.epoch, g.epoch;

UPDATE budget_window w
SET escrowed = held.escrowed, suspended = held.suspended,
    is_over = w.posted + held.escrowed + held.suspended > w.limit_amount
FROM (
    SELECT budget_id, window_start,
           coalesce(sum(granted + overdrawn - returned - posted) FILTER (WHERE suspended_at IS NULL), 0) AS escrowed,
           coalesce(sum(granted + overdrawn - returned - posted) FILTER (WHERE suspended_at IS NOT NULL), 0) AS suspended
    FROM budget_share
    GROUP BY budget_id, window_start
) held
WHERE w.budget_id = held.budget_id AND w.window_start = held.window_start
  AND (w.escrowed, w.suspended) IS DISTINCT FROM (held.escrowed, held.suspended);

-- Leases are read from now on, for the entries that still name one, and kept for 30 days. A replica of the version before
-- would change them beside the shares: it is told to try again until it is replaced (40001 is retried, never given up).
CREATE FUNCTION leases_are_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'leases are over: this replica is older than its database' USING ERRCODE = '40001';
END
$$;
CREATE TRIGGER leases_are_over BEFORE INSERT OR UPDATE ON lease FOR EACH STATEMENT EXECUTE FUNCTION leases_are_over();
CREATE TRIGGER leases_are_over BEFORE INSERT OR UPDATE ON lease_share
    FOR EACH STATEMENT EXECUTE FUNCTION leases_are_over();
