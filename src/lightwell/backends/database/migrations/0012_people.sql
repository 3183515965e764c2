-- People and programs of a tenant, what they sign in with, who is signed in, a tenant's own policies.
-- Secrets are digests (SHA-256), argon2id, public keys; TOTP secrets are sealed by a key that is not here.

CREATE TABLE person (
  tenant    int NOT NULL REFERENCES tenant,
  person_id uuid NOT NULL,
  login     text NOT NULL,                   -- folded: what is typed in another case is the same
  name      text NOT NULL DEFAULT '',
  disabled  boolean NOT NULL DEFAULT false,
  password  text,                            -- argon2id, encoded with its salt and cost
  totp      bytea,                           -- sealed
  totp_step bigint NOT NULL DEFAULT 0,       -- the last one used: a code opens one door, once
  created   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, person_id),
  UNIQUE (tenant, login)
);

CREATE TABLE person_role (
  tenant    int NOT NULL,
  person_id uuid NOT NULL,
  role      text NOT NULL,
  PRIMARY KEY (tenant, person_id, role),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);

CREATE TABLE passkey (
  tenant        int NOT NULL,
  credential_id bytea NOT NULL,
  person_id     uuid NOT NULL,
  public_key    bytea NOT NULL,
  sign_count    bigint NOT NULL DEFAULT 0,
  site          text NOT NULL,               -- the relying party it was made for
  created       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, credential_id),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);
CREATE INDEX passkey_person ON passkey (tenant, person_id);

CREATE TABLE recovery_code (
  tenant    int NOT NULL,
  person_id uuid NOT NULL,
  digest    bytea NOT NULL,
  PRIMARY KEY (tenant, person_id, digest),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);

CREATE TABLE program (
  tenant     int NOT NULL REFERENCES tenant,
  program_id uuid NOT NULL,
  name       text NOT NULL,
  digest     bytea NOT NULL UNIQUE,          -- of 256 random bits: tells nobody of another tenant's
  roles      text[] NOT NULL,
  scopes     text[] NOT NULL DEFAULT '{}',
  made_by    text NOT NULL,
  created    timestamptz NOT NULL,
  expires    timestamptz NOT NULL,
  revoked    timestamptz,
  PRIMARY KEY (tenant, program_id)
);

CREATE TABLE session (
  tenant     int NOT NULL REFERENCES tenant,
  session_id uuid NOT NULL,
  digest     bytea NOT NULL UNIQUE,
  person_id  uuid,                           -- NULL: of a sign-in link, with roles of its own
  name       text NOT NULL,                  -- who it was when it began
  roles      text[],
  how        text NOT NULL,
  origin     text NOT NULL DEFAULT '',
  agent      text NOT NULL DEFAULT '',
  created    timestamptz NOT NULL,
  seen       timestamptz NOT NULL,
  expires    timestamptz NOT NULL,
  idle       interval NOT NULL,
  proved     timestamptz NOT NULL,           -- when the person last proved who they are
  ended      timestamptz,
  ended_by   text,
  PRIMARY KEY (tenant, session_id),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);
CREATE INDEX session_open ON session (tenant, created DESC) WHERE ended IS NULL;

CREATE TABLE sign_in_link (
  tenant    int NOT NULL REFERENCES tenant,
  digest    bytea NOT NULL,
  kind      text NOT NULL CHECK (kind IN ('session', 'enrol', 'first-admin')),
  person_id uuid,                            -- 'enrol': whose account
  roles     text[] NOT NULL DEFAULT '{}',    -- 'session': what its bearer is
  made_by   text NOT NULL,
  expires   timestamptz NOT NULL,
  used      timestamptz,
  PRIMARY KEY (tenant, digest),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);

-- What we asked a browser, and may be answered once.
CREATE TABLE challenge (
  tenant  int NOT NULL REFERENCES tenant,
  digest  bytea NOT NULL,
  kind    text NOT NULL,
  body    bytea NOT NULL,
  expires timestamptz NOT NULL,
  PRIMARY KEY (tenant, digest)
);
CREATE INDEX challenge_expires ON challenge (expires);

CREATE TABLE throttle (
  tenant  int NOT NULL REFERENCES tenant,
  key     bytea NOT NULL,                    -- digest of (login, address), or of an address
  tries   int NOT NULL,
  since   timestamptz NOT NULL,               -- of the first of them
  until   timestamptz NOT NULL,
  PRIMARY KEY (tenant, key)
);
CREATE INDEX throttle_since ON throttle (since);

CREATE TABLE tenant_policy (
  tenant  int NOT NULL REFERENCES tenant,
  name    text NOT NULL,
  body    text NOT NULL,
  author  text NOT NULL,
  at      timestamptz NOT NULL,
  PRIMARY KEY (tenant, name)
);

CREATE TABLE support_consent (
  tenant  int NOT NULL REFERENCES tenant PRIMARY KEY,
  until   timestamptz NOT NULL,
  author  text NOT NULL
);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['person','person_role','passkey','recovery_code','program','session','sign_in_link','challenge','throttle',
                           'tenant_policy','support_consent'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO lightwell_app, lightwell_work', t);
  END LOOP;
END $$;
GRANT DELETE ON person_role, passkey, recovery_code, challenge, throttle, tenant_policy, support_consent TO lightwell_app;
GRANT DELETE ON challenge, throttle TO lightwell_work;

-- Who holds this? Asked before a tenant is known, by the digest of 256 random bits; shows what an identity is made of.
CREATE FUNCTION bearer_of(asked bytea) RETURNS TABLE (
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
$$;
REVOKE ALL ON FUNCTION bearer_of(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bearer_of(bytea) TO lightwell_app, lightwell_work;
