CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL
);

-- Laravel Sanctum's table with the columns that make tokens expire and rotate.
-- All times are milliseconds since the epoch; `token` is a SHA-256 in hex.
CREATE TABLE IF NOT EXISTS personal_access_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tokenable_type TEXT NOT NULL DEFAULT 'App\Models\User',
    tokenable_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    abilities TEXT NOT NULL DEFAULT '["*"]',
    type TEXT NOT NULL DEFAULT 'short_lived' CHECK (type IN ('short_lived', 'long_lived')),
    device_id TEXT NOT NULL,
    remember_token_id TEXT,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_used_at INTEGER,
    -- Refreshes since refresh_window_at; a successor inherits both.
    refresh_count INTEGER NOT NULL DEFAULT 0,
    refresh_window_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_expires_at ON personal_access_tokens (expires_at);
CREATE INDEX IF NOT EXISTS idx_revoked_at ON personal_access_tokens (revoked_at);
CREATE INDEX IF NOT EXISTS idx_device_id ON personal_access_tokens (device_id);
CREATE INDEX IF NOT EXISTS idx_user_type ON personal_access_tokens (tokenable_id, type);

-- One login with access and refresh tokens. All its tokens die with it: in
-- OAuth 2 terms it is the token family.
CREATE TABLE IF NOT EXISTS grants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    -- End of life of its refresh tokens; whether rotation moves it is the kind's own affair.
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
);
CREATE INDEX IF NOT EXISTS idx_grant_user ON grants (user_id, kind);

CREATE TABLE IF NOT EXISTS grant_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    grant_id INTEGER NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    usage TEXT NOT NULL CHECK (usage IN ('access', 'refresh')),
    token TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- Set when a refresh token was exchanged for its successor.
    spent_at INTEGER,
    revoked_at INTEGER,
    -- GoTrue: the refresh token it followed, and what, with that one's secret,
    -- its own secret was made of.
    parent_id INTEGER REFERENCES grant_tokens (id) ON DELETE SET NULL,
    seed TEXT
);
CREATE INDEX IF NOT EXISTS idx_grant_token_grant ON grant_tokens (grant_id);

CREATE TABLE IF NOT EXISTS oauth_codes (
    code TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    redirect_uri TEXT NOT NULL,
    challenge TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at INTEGER,
    -- What the code was exchanged for, to be revoked if the code comes back.
    grant_id INTEGER REFERENCES grants (id) ON DELETE SET NULL
);

CREATE TABLE IF NOT EXISTS bookings (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    hotel TEXT NOT NULL,
    check_in TEXT NOT NULL,
    nights INTEGER NOT NULL
);
