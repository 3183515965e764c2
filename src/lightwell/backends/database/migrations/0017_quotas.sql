-- How much a tenant may keep, and a count of what it keeps that is cheap to ask for with each arrival.
-- Counted are studies, the bytes of their objects as they lie in the store, and of what is kept aside. As with
-- study_delta, writers only insert: no two of them wait for each other. `work` rolls up.

ALTER TABLE tenant
  ADD quota_bytes   bigint CHECK (quota_bytes >= 0),   -- NULL: no limit
  ADD quota_studies bigint CHECK (quota_studies >= 0);

CREATE TABLE tenant_usage (
  tenant  int PRIMARY KEY REFERENCES tenant,
  studies bigint NOT NULL,
  bytes   bigint NOT NULL
);

CREATE TABLE usage_delta (
  tenant  int NOT NULL REFERENCES tenant,
  id      bigint GENERATED ALWAYS AS IDENTITY,
  studies bigint NOT NULL DEFAULT 0,
  bytes   bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, id)
);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['tenant_usage','usage_delta'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO lightwell_work', t);
    EXECUTE format('GRANT SELECT ON %I TO lightwell_app', t);
  END LOOP;
END $$;
GRANT UPDATE ON tenant_usage TO lightwell_work;
GRANT UPDATE, DELETE ON usage_delta TO lightwell_work;
GRANT INSERT ON usage_delta TO lightwell_app;

CREATE FUNCTION count_studies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO usage_delta (tenant, studies)
    SELECT tenant, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END FROM touched GROUP BY tenant;
  RETURN NULL;
END $$;
CREATE TRIGGER study_made AFTER INSERT ON study REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_studies();
CREATE TRIGGER study_gone AFTER DELETE ON study REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_studies();

CREATE FUNCTION count_bytes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO usage_delta (tenant, bytes)
    SELECT tenant, sum(bytes) FROM touched GROUP BY tenant HAVING sum(bytes) <> 0;
  RETURN NULL;
END $$;
CREATE TRIGGER bytes_counted AFTER INSERT ON study_delta REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_bytes();

CREATE FUNCTION count_aside() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO usage_delta (tenant, bytes)
      SELECT tenant, sum(length) FROM fresh WHERE resolved IS NULL GROUP BY tenant;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO usage_delta (tenant, bytes)
      SELECT tenant, -sum(length) FROM stale WHERE resolved IS NULL GROUP BY tenant;
  ELSE
    INSERT INTO usage_delta (tenant, bytes)
      SELECT tenant, sum(bytes) FROM (
        SELECT tenant, length AS bytes FROM fresh WHERE resolved IS NULL
        UNION ALL SELECT tenant, -length FROM stale WHERE resolved IS NULL) c
      GROUP BY tenant HAVING sum(bytes) <> 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER aside_kept AFTER INSERT ON qc_item REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_aside();
CREATE TRIGGER aside_gone AFTER DELETE ON qc_item REFERENCING OLD TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION count_aside();
CREATE TRIGGER aside_changed AFTER UPDATE ON qc_item REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_aside();

INSERT INTO tenant_usage (tenant, studies, bytes)
SELECT t.tenant,
  (SELECT count(*) FROM study s WHERE s.tenant = t.tenant),
  coalesce((SELECT sum(s.n_bytes) FROM study s WHERE s.tenant = t.tenant), 0)
  + coalesce((SELECT sum(d.bytes) FROM study_delta d WHERE d.tenant = t.tenant), 0)
  + coalesce((SELECT sum(q.length) FROM qc_item q WHERE q.tenant = t.tenant AND q.resolved IS NULL), 0)
FROM tenant t;

DROP FUNCTION tenant_directory();
CREATE FUNCTION tenant_directory() RETURNS TABLE (tenant int, name text, label text, aet text, region text, demo boolean, suspended boolean, settling text,
  suspension text, quota_bytes bigint, quota_studies bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, name, label, aet, region, demo, suspended, settling, suspension, quota_bytes, quota_studies FROM tenant ORDER BY tenant $$;
REVOKE ALL ON FUNCTION tenant_directory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_directory() TO lightwell_app, lightwell_work;
