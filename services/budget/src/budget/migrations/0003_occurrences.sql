-- A mark that was crossed and resolved may be crossed again: every occurrence is a row, and an event of its own. Rows of
-- before, and of a replica that knows no occurrences yet, are first ones; it notes no second, as it always did.
ALTER TABLE crossing
    ADD COLUMN occurrence    integer NOT NULL DEFAULT 1 CHECK (occurrence >= 1),
    ADD COLUMN provisional   boolean NOT NULL DEFAULT false, -- reached only with what is in suspense
    ADD COLUMN notify_people boolean NOT NULL DEFAULT true,  -- what its event says
    DROP CONSTRAINT crossing_pkey,
    ADD PRIMARY KEY (budget_id, window_start, limit_revision, mark, occurrence);

-- Of a mark at most one occurrence is open under a limit, whoever notes it.
CREATE UNIQUE INDEX crossing_open ON crossing (budget_id, window_start, limit_revision, mark) WHERE resolved_at IS NULL;
