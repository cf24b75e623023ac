-- What gateways were last told about the age of the catalogue: by `lasts_until` no raise is in force that was made after
-- `as_of`. A raise takes effect no sooner than the latest promise lasts. One row at most.
CREATE TABLE price_promise (
    is_only     boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    revision    bigint      NOT NULL,
    as_of       timestamptz NOT NULL,
    lasts_until timestamptz NOT NULL
);
