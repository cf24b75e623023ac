-- What people said was true of an attempt, beside the ledger entry that it became. None is ever changed.
--
-- An entry is corrected once at most: what is wrong with a correction is put right by one that names it.
CREATE TABLE correction (
    correction_id uuid PRIMARY KEY, -- who corrects makes it, so that asking again does no harm
    entry_id      uuid        NOT NULL UNIQUE,
    attempt_id    uuid        NOT NULL,
    corrects      uuid        NOT NULL UNIQUE,
    stated        text        NOT NULL, -- the true usage or amount, as JSON
    reason        text        NOT NULL,
    made_at       timestamptz NOT NULL,
    answer        text        NOT NULL -- what was answered, and is answered again
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON correction FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON correction FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
