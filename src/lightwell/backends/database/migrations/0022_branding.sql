-- How a tenant looks to its people before and after they sign in, and which time of day it is there. All may be empty:
-- then it looks like every other, and its time is that of this machine.

ALTER TABLE tenant
  ADD accent text NOT NULL DEFAULT '' CHECK (accent ~ '^(#[0-9a-f]{6})?$'),
  ADD notice text NOT NULL DEFAULT '' CHECK (length(notice) <= 500),
  ADD zone   text NOT NULL DEFAULT '';                 -- name of the IANA time zone database

-- Read with tenant_directory(), before a tenant is known; of its own, so that either can grow without the other.
CREATE FUNCTION tenant_looks() RETURNS TABLE (tenant int, accent text, notice text, zone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, accent, notice, zone FROM tenant $$;
REVOKE ALL ON FUNCTION tenant_looks() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_looks() TO lightwell_app, lightwell_work;
