CREATE FUNCTION adulis_key_audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'adulis_key_audit is only added to'; END
$$;

CREATE TRIGGER adulis_key_audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON adulis_key_audit
FOR EACH STATEMENT EXECUTE FUNCTION adulis_key_audit_kept();
