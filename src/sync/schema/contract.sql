-- The tables that other services read and write, where they are missing.
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL,
    path TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'open',
    start_ts TIMESTAMPTZ NOT NULL,
    end_ts TIMESTAMPTZ,
    postroll_sec INTEGER,
    reason TEXT,
    media_connect_ts TIMESTAMPTZ,
    media_start_ts TIMESTAMPTZ,
    media_end_ts TIMESTAMPTZ,
    recommended_start_offset_ms INTEGER,
    configured_classes TEXT[] NOT NULL DEFAULT '{}',
    detected_classes TEXT[] DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS detections (
    session_id TEXT NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    track_id TEXT NOT NULL,
    cls TEXT NOT NULL,
    conf NUMERIC NOT NULL CHECK (conf >= 0 AND conf <= 1),
    bbox JSONB NOT NULL,
    url_frame TEXT,
    first_ts TIMESTAMPTZ NOT NULL,
    last_ts TIMESTAMPTZ NOT NULL,
    capture_ts TIMESTAMPTZ NOT NULL,
    ingest_ts TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    attributes JSONB,
    enriched BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (session_id, track_id)
);

CREATE INDEX sessions_open_path ON sessions (path) WHERE end_ts IS NULL;
CREATE INDEX sessions_path_time ON sessions (path, start_ts, end_ts);
CREATE INDEX sessions_detected_classes ON sessions USING GIN (detected_classes);
CREATE INDEX detections_session ON detections (session_id);
CREATE INDEX detections_last ON detections (last_ts);
CREATE INDEX detections_cls ON detections (cls);
CREATE INDEX detections_not_enriched ON detections (created_at) WHERE enriched = FALSE;
CREATE INDEX detections_attributes ON detections USING GIN (attributes);
-- By this one the gateways find what changed.
CREATE INDEX detections_updated ON detections (updated_at);

CREATE OR REPLACE FUNCTION session_store.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_sessions_updated_at BEFORE UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION session_store.set_updated_at();
CREATE TRIGGER trg_detections_updated_at BEFORE UPDATE ON detections
    FOR EACH ROW EXECUTE FUNCTION session_store.set_updated_at();
