-- For how many seconds what is uncertain counts in the budgets of an account and those below it; 0 is until it is ended.
ALTER TABLE account ADD COLUMN uncertain_for_s integer CHECK (uncertain_for_s >= 0);
CREATE INDEX account_uncertain_for ON account (account_id) WHERE uncertain_for_s > 0;
