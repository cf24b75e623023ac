-- The output limit that a call gets which states none, before what is left and the model's own maximum lower it.
-- Null is inherited from the parent, as everywhere in this table.
ALTER TABLE account ADD COLUMN default_output_tokens integer CHECK (default_output_tokens > 0);
UPDATE account SET default_output_tokens = 16384 WHERE account_id = 'platform';
