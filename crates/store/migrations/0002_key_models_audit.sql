ALTER TABLE adulis_api_keys ADD COLUMN hint TEXT NOT NULL DEFAULT '';

ALTER TABLE adulis_api_keys ADD COLUMN models TEXT NOT NULL DEFAULT '["*"]';

ALTER TABLE adulis_api_keys ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;

ALTER TABLE adulis_api_keys ADD COLUMN quota TEXT NOT NULL DEFAULT '';

CREATE TABLE adulis_key_audit (
    id {serial},
    at_us BIGINT NOT NULL,
    actor TEXT NOT NULL,
    operation TEXT NOT NULL,
    key_id TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX adulis_key_audit_time ON adulis_key_audit (at_us, id);
