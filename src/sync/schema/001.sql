-- The gateways' own bookkeeping.
CREATE TABLE session_store.gateways (
    gateway_id TEXT PRIMARY KEY,
    store_uuid TEXT NOT NULL,
    -- Up to which number of which feed all is here; written in the transaction that wrote the rows.
    epoch TEXT NOT NULL,
    place BIGINT NOT NULL,
    -- How frames come here; after a change the feed is read from its beginning.
    frames TEXT NOT NULL,
    -- Up to when what other services changed has come back, by this server's clock.
    pulled_until TIMESTAMPTZ,
    swept_at TIMESTAMPTZ,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The gateway that claimed a session first.
CREATE TABLE session_store.owners (
    session_id TEXT PRIMARY KEY,
    gateway_id TEXT NOT NULL
);
CREATE INDEX owners_gateway ON session_store.owners (gateway_id, session_id);

-- Transactions in which a gateway pushed: what they wrote need not come back.
CREATE TABLE session_store.pushes (
    gateway_id TEXT NOT NULL,
    xid BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, xid)
);

-- Detections of which a push found other attributes than the gateway has: they come back with the next pull.
CREATE TABLE session_store.diverged (
    gateway_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    PRIMARY KEY (gateway_id, session_id, track_id)
);

-- Detections that got a better picture a moment ago: attributes may still be of the one before.
CREATE TABLE session_store.guards (
    gateway_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (gateway_id, session_id, track_id)
);

-- Copies of frames that no row names any more, until they are deleted.
CREATE TABLE session_store.beaten_frames (
    gateway_id TEXT NOT NULL,
    url_frame TEXT NOT NULL,
    PRIMARY KEY (gateway_id, url_frame)
);

-- Rows that this database refused. An empty track is the session itself.
CREATE TABLE session_store.set_aside (
    gateway_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    error TEXT NOT NULL,
    refused_row TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    retry BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (gateway_id, session_id, track_id)
);
