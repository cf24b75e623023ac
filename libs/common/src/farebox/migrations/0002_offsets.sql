-- How far a consumer group's effects go in this database: written in the transaction of the effect, so that a database
-- that is restored, or fails over to a server that lagged, says itself what it has forgotten.
CREATE TABLE consumer_offset (
    group_id    text   NOT NULL,
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (group_id, topic, partition)
) WITH (fillfactor = 50); -- a row changes with every batch: there is room for it on its page
