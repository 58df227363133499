CREATE TRIGGER adulis_key_audit_update BEFORE UPDATE ON adulis_key_audit
BEGIN SELECT RAISE(ABORT, 'adulis_key_audit is only added to'); END;

CREATE TRIGGER adulis_key_audit_delete BEFORE DELETE ON adulis_key_audit
BEGIN SELECT RAISE(ABORT, 'adulis_key_audit is only added to'); END;
