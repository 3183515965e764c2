-- A suspended tenant: why, for whoever reads the list of the installation. Which is suspended stands in 0001.

ALTER TABLE tenant ADD suspension text NOT NULL DEFAULT '';
ALTER TABLE tenant ADD CONSTRAINT tenant_first_serves CHECK (name <> 'default' OR NOT suspended);
DROP FUNCTION tenant_directory();
CREATE FUNCTION tenant_directory() RETURNS TABLE (tenant int, name text, label text, aet text, region text, demo boolean, suspended boolean, settling text,
  suspension text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, name, label, aet, region, demo, suspended, settling, suspension FROM tenant ORDER BY tenant $$;
REVOKE ALL ON FUNCTION tenant_directory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_directory() TO lightwell_app, lightwell_work;
