-- By what a tenant is called: AE titles (its own first one is in `tenant`, and here too) and hosts of web addresses.
-- A name belongs to one tenant, whichever kind of row says so; only `work` writes, so that nobody can try names.

CREATE TABLE tenant_name (
  tenant int NOT NULL REFERENCES tenant,
  kind   text NOT NULL CHECK (kind IN ('aet', 'host')),
  name   text NOT NULL,
  PRIMARY KEY (kind, name)
);
CREATE INDEX tenant_name_tenant ON tenant_name (tenant, kind, name);
ALTER TABLE tenant_name ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_name FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON tenant_name TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()));
CREATE POLICY work ON tenant_name TO lightwell_work USING (true) WITH CHECK (true);
CREATE POLICY own ON tenant_name TO lightwell_owner USING (true) WITH CHECK (true);
GRANT SELECT ON tenant_name TO lightwell_app;
GRANT SELECT, INSERT, DELETE ON tenant_name TO lightwell_work;

INSERT INTO tenant_name (tenant, kind, name) SELECT tenant, 'aet', aet FROM tenant;
CREATE FUNCTION name_tenant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO tenant_name (tenant, kind, name) VALUES (NEW.tenant, 'aet', NEW.aet);
  RETURN NULL;
END $$;
CREATE TRIGGER tenant_named AFTER INSERT ON tenant FOR EACH ROW EXECUTE FUNCTION name_tenant();

DROP FUNCTION tenant_directory();
CREATE FUNCTION tenant_directory() RETURNS TABLE (tenant int, name text, label text, aet text, region text, demo boolean, suspended boolean, settling text,
  suspension text, quota_bytes bigint, quota_studies bigint, titles text[], hosts text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, name, label, aet, region, demo, suspended, settling, suspension, quota_bytes, quota_studies,
     ARRAY(SELECT n.name FROM tenant_name n WHERE n.tenant = t.tenant AND n.kind = 'aet' AND n.name <> t.aet ORDER BY n.name COLLATE "C"),
     ARRAY(SELECT n.name FROM tenant_name n WHERE n.tenant = t.tenant AND n.kind = 'host' ORDER BY n.name COLLATE "C")
   FROM tenant t ORDER BY tenant $$;
REVOKE ALL ON FUNCTION tenant_directory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_directory() TO lightwell_app, lightwell_work;
