CREATE TABLE adulis_api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE adulis_usage (
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    day BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    compute_ns BIGINT NOT NULL,
    PRIMARY KEY (key_id, model, day)
);

CREATE TABLE adulis_inference_log (
    id {serial},
    at_us BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    answer BIGINT NOT NULL,
    model TEXT NOT NULL,
    version BIGINT,
    outcome TEXT NOT NULL,
    message TEXT,
    latency_us BIGINT NOT NULL,
    compute_us BIGINT NOT NULL,
    inputs TEXT NOT NULL,
    outputs TEXT NOT NULL
);

CREATE INDEX adulis_inference_log_time ON adulis_inference_log (at_us, id);

CREATE INDEX adulis_inference_log_model ON adulis_inference_log (model, at_us, id);
