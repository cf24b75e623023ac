-- The shape of what an audit has seen. An audit fills a temporary table of this name and shape, which hides this one; here
-- nothing can be stored.
CREATE TABLE audited (
    entry_id uuid PRIMARY KEY,
    CONSTRAINT only_a_shape CHECK (false)
);
