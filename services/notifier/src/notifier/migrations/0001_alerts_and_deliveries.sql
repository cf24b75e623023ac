CREATE TABLE channel (
    channel_id uuid PRIMARY KEY,
    account text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('email', 'webhook')),
    name text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'deleted')),
    disabled_reason text,
    recipients text[] NOT NULL DEFAULT '{}',
    url text,
    event_types text[],
    secret_sealed bytea,
    previous_secret_sealed bytea,
    previous_secret_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'email') = (cardinality(recipients) > 0)),
    CHECK ((kind = 'webhook') = (url IS NOT NULL)),
    CHECK (kind = 'email' OR state = 'deleted' OR secret_sealed IS NOT NULL),
    CHECK ((previous_secret_sealed IS NULL) = (previous_secret_until IS NULL))
);

CREATE INDEX channel_of_account ON channel (account) WHERE state = 'active';

-- The history. One row an event, whatever happens to its deliveries.
CREATE TABLE alert (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    account text NOT NULL,
    path text[] NOT NULL,
    notify_people boolean NOT NULL,
    event json NOT NULL, -- as its producer wrote it: `json` keeps the text, `jsonb` would not
    received_at timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    note text
);

CREATE INDEX alert_on_path ON alert USING gin (path);

CREATE TABLE delivery (
    delivery_id uuid PRIMARY KEY,
    event_id uuid NOT NULL REFERENCES alert,
    channel_id uuid NOT NULL REFERENCES channel,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz, -- until then one replica is at it; afterwards any may take over
    accepted text[] NOT NULL DEFAULT '{}',
    last_status integer,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (event_id, channel_id),
    CHECK ((state = 'pending') = (finished_at IS NULL)),
    CHECK (state = 'pending' OR claimed_until IS NULL)
);

CREATE INDEX delivery_due ON delivery (channel_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX delivery_of_channel ON delivery (channel_id, delivery_id);

CREATE TABLE attempt (
    delivery_id uuid NOT NULL REFERENCES delivery,
    number integer NOT NULL,
    instance text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    duration_ms integer,
    verdict text CHECK (verdict IN ('accepted', 'retry', 'refused', 'gone', 'abandoned')),
    status integer,
    error text,
    PRIMARY KEY (delivery_id, number)
);
