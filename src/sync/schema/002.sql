-- Pictures on their way into the enricher's folder ([sync] frames = "table"): asked for by the row that names them, sent in pieces by
-- the gateway, written out by `session-store receive-frames`.
CREATE TABLE session_store.frames (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    url_frame TEXT NOT NULL,
    -- The newest goes first.
    capture_ts TIMESTAMPTZ NOT NULL,
    -- For so many seconds behind its arrival, attributes may still be of the picture before.
    guard_sec DOUBLE PRECISION NOT NULL,
    -- How many bytes of it are here, and of how many; not known before the first piece.
    sent INTEGER NOT NULL DEFAULT 0,
    length INTEGER,
    UNIQUE (gateway_id, session_id, track_id, url_frame)
);
CREATE INDEX frames_wanted ON session_store.frames (gateway_id, capture_ts DESC, id) WHERE sent IS DISTINCT FROM length;
CREATE INDEX frames_whole ON session_store.frames (capture_ts DESC, id) WHERE sent = length;

CREATE TABLE session_store.frame_pieces (
    frame_id BIGINT NOT NULL REFERENCES session_store.frames (id) ON DELETE CASCADE,
    -- Where in the picture its first byte is.
    start INTEGER NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (frame_id, start)
);
-- A JPEG is compressed already.
ALTER TABLE session_store.frame_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Those without an end, of pictures that wait, may be many.
CREATE INDEX guards_until ON session_store.guards (gateway_id, until);

ALTER TABLE session_store.gateways
    -- Classes whose rows go first in a backlog, as JSON, and up to which number of the feed those are here.
    ADD COLUMN first_classes TEXT NOT NULL DEFAULT '[]',
    ADD COLUMN first_place BIGINT NOT NULL DEFAULT 0,
    -- The process that pushed last; a store that does not know it, or only up to a lower number, is an older copy.
    ADD COLUMN run TEXT NOT NULL DEFAULT '';

-- The lowest version that a program must know to use this schema: gateways are not upgraded all at once.
ALTER TABLE session_store.migrations ADD COLUMN needs INTEGER NOT NULL DEFAULT 1;
