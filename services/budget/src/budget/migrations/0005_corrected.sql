-- Attempts whose truth was entered. Nothing of them is uncertain any more, also where the correction came before the charge.
CREATE TABLE corrected (
    attempt_id uuid PRIMARY KEY,
    noted_at   timestamptz NOT NULL
);
