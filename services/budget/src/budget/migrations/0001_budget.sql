-- Accounts form a tree: platform → org → team → user → key. Null settings are inherited from the parent.
CREATE TABLE account (
    account_id        text PRIMARY KEY,
    kind              text NOT NULL CHECK (kind IN ('platform', 'org', 'team', 'user', 'key')),
    parent_id         text REFERENCES account,
    path              text[] NOT NULL,
    name              text NOT NULL,
    currency          text,
    fx_rate           numeric CHECK (fx_rate > 0),
    fx_source         text,
    fx_date           date,
    language          text CHECK (language IN ('vi', 'ko', 'en')),
    zone              text,
    clamp             boolean,
    min_output_tokens integer CHECK (min_output_tokens > 0),
    allowed_models    text[],
    blocked_models    text[],
    alerts            boolean,
    revision          bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'platform') = (parent_id IS NULL)),
    CHECK (path[cardinality(path)] = account_id)
);
CREATE INDEX account_parent ON account (parent_id);

INSERT INTO account (account_id, kind, path, name, currency, fx_rate, fx_source, fx_date, language, zone, clamp,
                     min_output_tokens, blocked_models, alerts)
VALUES ('platform', 'platform', '{platform}', 'Platform', 'USD', 1, 'identity', '1970-01-01', 'en', 'UTC', false,
        16, '{}', true);

-- Only the SHA-256 of a key is kept; `hint` is what people recognise it by.
CREATE TABLE api_key (
    account_id text PRIMARY KEY REFERENCES account,
    key_hash   text NOT NULL UNIQUE CHECK (key_hash ~ '^[0-9a-f]{64}$'),
    hint       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- Amounts are nano-units of `currency` where measure is money, plain counts otherwise.
CREATE TABLE budget (
    budget_id      uuid PRIMARY KEY,
    account_id     text NOT NULL REFERENCES account,
    name           text NOT NULL,
    measure        text NOT NULL CHECK (measure IN ('money', 'requests', 'tokens')),
    currency       text,
    window_kind    text NOT NULL CHECK (window_kind IN ('day', 'week', 'month', 'lifetime')),
    zone           text NOT NULL,
    week_start     smallint NOT NULL DEFAULT 1 CHECK (week_start BETWEEN 1 AND 7),
    limit_amount   numeric(38, 0) NOT NULL CHECK (limit_amount >= 0),
    limit_revision integer NOT NULL DEFAULT 1,
    mode           text NOT NULL CHECK (mode IN ('hard', 'soft', 'shadow')),
    active         boolean NOT NULL DEFAULT true,
    thresholds     jsonb NOT NULL,
    narrowed_to    jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((measure = 'money') = (currency IS NOT NULL)),
    UNIQUE (account_id, name)
);

-- What became of a budget in one span of time. `is_over` is a state, not an accident: a limit was cut below what is out, or
-- a bill came in above its reserve. Whoever grants never sets it.
CREATE TABLE budget_window (
    budget_id      uuid NOT NULL REFERENCES budget,
    window_start   timestamptz NOT NULL,
    window_end     timestamptz,
    is_hard        boolean NOT NULL,
    limit_amount   numeric(38, 0) NOT NULL,
    limit_revision integer NOT NULL,
    posted         numeric(38, 0) NOT NULL DEFAULT 0,
    escrowed       numeric(38, 0) NOT NULL DEFAULT 0 CHECK (escrowed >= 0),
    suspended      numeric(38, 0) NOT NULL DEFAULT 0 CHECK (suspended >= 0),
    is_over        boolean NOT NULL DEFAULT false,
    revision       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (budget_id, window_start),
    CONSTRAINT within_limit CHECK (posted + escrowed + suspended <= limit_amount OR is_over OR NOT is_hard)
) WITH (fillfactor = 70);

-- A gateway replica and the newest epoch it was given; calls of an older one are fenced.
CREATE TABLE gateway (
    gateway_id text PRIMARY KEY,
    epoch      bigint NOT NULL,
    seen_at    timestamptz NOT NULL
);

CREATE TABLE lease (
    lease_id     uuid PRIMARY KEY,
    gateway_id   text NOT NULL REFERENCES gateway,
    epoch        bigint NOT NULL,
    key_id       text NOT NULL REFERENCES account,
    granted_at   timestamptz NOT NULL,
    recalled_at  timestamptz,
    suspended_at timestamptz,
    released_at  timestamptz,
    release_note text,
    CHECK ((released_at IS NULL) = (release_note IS NULL))
);
CREATE INDEX lease_gateway ON lease (gateway_id, epoch);
CREATE INDEX lease_recalled ON lease (gateway_id) WHERE recalled_at IS NOT NULL;

-- A lease's part in one window. held = granted - returned - posted stays escrowed (or suspended) until it is 0.
CREATE TABLE lease_share (
    lease_id     uuid NOT NULL REFERENCES lease ON DELETE CASCADE,
    budget_id    uuid NOT NULL,
    window_start timestamptz NOT NULL,
    granted      numeric(38, 0) NOT NULL CHECK (granted >= 0),
    posted       numeric(38, 0) NOT NULL DEFAULT 0,
    returned     numeric(38, 0) NOT NULL DEFAULT 0 CHECK (returned >= 0),
    spent        numeric(38, 0) NOT NULL DEFAULT 0,
    PRIMARY KEY (lease_id, budget_id),
    FOREIGN KEY (budget_id, window_start) REFERENCES budget_window
) WITH (fillfactor = 80);
CREATE INDEX lease_share_held ON lease_share (budget_id, window_start) WHERE granted > returned + posted;

-- One row for every ledger entry that was posted: the judge of exactly once.
CREATE TABLE posting (
    entry_id uuid PRIMARY KEY
);

-- One row for every event owed: at most one per budget, window, limit revision and mark.
CREATE TABLE crossing (
    budget_id      uuid NOT NULL,
    window_start   timestamptz NOT NULL,
    limit_revision integer NOT NULL,
    mark           text NOT NULL,
    event_id       uuid NOT NULL,
    crossed_at     timestamptz NOT NULL,
    resolved_at    timestamptz,
    PRIMARY KEY (budget_id, window_start, limit_revision, mark),
    FOREIGN KEY (budget_id, window_start) REFERENCES budget_window
);
