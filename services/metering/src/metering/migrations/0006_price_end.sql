-- When somebody said that a price ends; the instant at which it does is in the row.
ALTER TABLE price_override ADD COLUMN ended_at timestamptz;
