-- Tenants that are being erased, or were: who decided it, what went, and a name that is given out never again.
-- Rows are deleted through a function that touches nothing of anybody else, so that `work` gets no right to delete
-- what is append-only.

-- No column `tenant`: this is the installation's, and is the only thing of an erased tenant that stays.
CREATE TABLE tenant_erasure (
  name     text PRIMARY KEY CHECK (name <> 'default'),
  number   int UNIQUE,                       -- the key of its rows; NULL: there are none in this database
  region   text NOT NULL,
  reason   text NOT NULL,
  author   text NOT NULL,
  begun    timestamptz NOT NULL,
  studies  bigint NOT NULL,                  -- what it kept then
  objects  bigint NOT NULL,
  bytes    bigint NOT NULL,
  gone     bigint NOT NULL DEFAULT 0,        -- objects of the store that are deleted, as far as it was noted
  finished timestamptz                       -- NULL: being erased
);
CREATE INDEX tenant_erasure_open ON tenant_erasure (begun) WHERE finished IS NULL;
ALTER TABLE tenant_erasure ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_erasure FORCE ROW LEVEL SECURITY;
CREATE POLICY work ON tenant_erasure TO lightwell_work USING (true) WITH CHECK (true);
CREATE POLICY own ON tenant_erasure TO lightwell_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON tenant_erasure TO lightwell_work;
GRANT UPDATE (gone, finished) ON tenant_erasure TO lightwell_work;

-- Which tenants are being erased: read with `tenant_directory()`, before a tenant is known.
CREATE FUNCTION tenants_erasing() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT t.tenant FROM tenant t JOIN tenant_erasure e ON e.name = t.name $$;
REVOKE ALL ON FUNCTION tenants_erasing() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_erasing() TO lightwell_app, lightwell_work;

-- A name is never given out again, and a tenant that is being erased is never served again: whoever asks.
CREATE FUNCTION refuse_erased() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ BEGIN
  IF EXISTS (SELECT FROM tenant_erasure e WHERE e.name = NEW.name) THEN
    RAISE EXCEPTION 'the tenant is erased' USING ERRCODE = 'LW002';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tenant_erased_name BEFORE INSERT ON tenant FOR EACH ROW EXECUTE FUNCTION refuse_erased();
CREATE TRIGGER tenant_erased_stays BEFORE UPDATE ON tenant FOR EACH ROW WHEN (NOT NEW.suspended) EXECUTE FUNCTION refuse_erased();

-- Rows of one table and one tenant that is being erased, or was; how many there were.
CREATE FUNCTION erase_rows(p_tenant int, p_table text, p_most int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  of_name text := (SELECT e.name FROM tenant_erasure e WHERE e.number = p_tenant);
  n bigint;
BEGIN
  IF of_name IS NULL OR EXISTS (SELECT FROM tenant t WHERE t.tenant = p_tenant AND (t.name <> of_name OR NOT t.suspended)) THEN
    RAISE EXCEPTION 'tenant % is not being erased', p_tenant USING ERRCODE = 'LW003';
  END IF;
  EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE tenant = $1 LIMIT $2))', p_table)
    USING p_tenant, p_most;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION erase_rows(int, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_rows(int, text, int) TO lightwell_work;

-- In a database that is made anew the numbers of erased tenants are passed over.
CREATE FUNCTION pass_tenant_number(used int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ BEGIN
  IF used > (SELECT last_value FROM tenant_tenant_seq) THEN
    PERFORM setval('tenant_tenant_seq', used);
  END IF;
END $$;
REVOKE ALL ON FUNCTION pass_tenant_number(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pass_tenant_number(int) TO lightwell_work;
