-- Machines and programs at the doors: who a peer speaks for, how far back it sees, whose a certificate is,
-- short-lived tokens of a key, certificates that a program comes with.

ALTER TABLE peer
  ADD identity boolean NOT NULL DEFAULT false, -- each association says who it speaks for (PS3.7 D.3.3.7)
  ADD days     int CHECK (days BETWEEN 0 AND 36500); -- how far back it sees; 0 all, NULL by how it calls
CREATE INDEX peer_certificate ON peer (certificate) WHERE certificate IS NOT NULL;

-- Whose certificate is this? Asked before a caller is believed, of every tenant: another one's opens nothing.
CREATE FUNCTION peers_of_certificate(asked text) RETURNS TABLE (tenant int, aet text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
  SELECT p.tenant, p.aet FROM peer p WHERE p.certificate = asked
$$;
REVOKE ALL ON FUNCTION peers_of_certificate(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION peers_of_certificate(text) TO lightwell_app, lightwell_work;

-- What a program was given for its key (RFC 6749 4.4), for some minutes. Ends with the key.
CREATE TABLE program_token (
  tenant     int NOT NULL REFERENCES tenant,
  digest     bytea NOT NULL UNIQUE,          -- of 256 random bits: tells nobody of another tenant's
  program_id uuid NOT NULL,
  scopes     text[] NOT NULL,                -- no wider than the key's
  created    timestamptz NOT NULL,
  expires    timestamptz NOT NULL,
  PRIMARY KEY (tenant, digest),
  FOREIGN KEY (tenant, program_id) REFERENCES program ON DELETE CASCADE
);
CREATE INDEX program_token_expires ON program_token (expires);

-- A certificate with which a program comes through a proxy. `digest` is of its fingerprint, so that it is found
-- as a token is, and can be mistaken for none.
CREATE TABLE program_certificate (
  tenant      int NOT NULL REFERENCES tenant,
  digest      bytea NOT NULL UNIQUE,
  fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
  program_id  uuid NOT NULL,
  made_by     text NOT NULL,
  created     timestamptz NOT NULL,
  PRIMARY KEY (tenant, digest),
  FOREIGN KEY (tenant, program_id) REFERENCES program ON DELETE CASCADE
);
CREATE INDEX program_certificate_program ON program_certificate (tenant, program_id);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['program_token','program_certificate'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO lightwell_app, lightwell_work', t);
  END LOOP;
END $$;
GRANT DELETE ON program_certificate TO lightwell_app;
GRANT DELETE ON program_token TO lightwell_work;

-- As in migration 0012, with the two other ways to be a program. Both end with its key.
CREATE OR REPLACE FUNCTION bearer_of(asked bytea) RETURNS TABLE (
  kind text, tenant int, id uuid, name text, roles text[], scopes text[], created timestamptz, seen timestamptz, expires timestamptz,
  idle interval, proved timestamptz, disabled boolean, ended timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
  SELECT 'session', s.tenant, s.session_id, coalesce(p.login, s.name),
         coalesce(s.roles, ARRAY(SELECT r.role FROM person_role r WHERE r.tenant = s.tenant AND r.person_id = s.person_id)),
         '{}'::text[], s.created, s.seen, s.expires, s.idle, s.proved, coalesce(p.disabled, false), s.ended
  FROM session s LEFT JOIN person p ON p.tenant = s.tenant AND p.person_id = s.person_id WHERE s.digest = asked
  UNION ALL
  SELECT 'program', g.tenant, g.program_id, g.name, g.roles, g.scopes, g.created, g.created, g.expires, NULL, g.created, false, g.revoked
  FROM program g WHERE g.digest = asked
  UNION ALL
  SELECT 'program', g.tenant, g.program_id, g.name, g.roles, t.scopes, t.created, t.created, least(t.expires, g.expires), NULL, t.created,
         false, g.revoked
  FROM program_token t JOIN program g ON g.tenant = t.tenant AND g.program_id = t.program_id WHERE t.digest = asked
  UNION ALL
  SELECT 'program', g.tenant, g.program_id, g.name, g.roles, g.scopes, g.created, g.created, g.expires, NULL, g.created, false, g.revoked
  FROM program_certificate c JOIN program g ON g.tenant = c.tenant AND g.program_id = c.program_id WHERE c.digest = asked
$$;
