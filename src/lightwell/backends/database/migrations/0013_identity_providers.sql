-- Identity providers of a tenant, and which accounts came through one: (tenant, issuer, subject) is who they are there.

CREATE TABLE identity_provider (
  tenant       int NOT NULL REFERENCES tenant,
  name         text NOT NULL,                -- stands in the address that the provider redirects to
  label        text NOT NULL,
  issuer       text NOT NULL,
  client_id    text NOT NULL,
  secret       bytea,                        -- sealed; NULL: a public client
  scopes       text[] NOT NULL,
  groups_claim text NOT NULL,
  login_claim  text NOT NULL,
  roles        jsonb NOT NULL,               -- group -> [role]
  enabled      boolean NOT NULL DEFAULT true,
  made_by      text NOT NULL,
  created      timestamptz NOT NULL,
  PRIMARY KEY (tenant, name),
  UNIQUE (tenant, issuer)                    -- two maps for the same people would take turns
);

ALTER TABLE identity_provider ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_provider FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON identity_provider TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()));
CREATE POLICY work ON identity_provider TO lightwell_work USING (true) WITH CHECK (true);
CREATE POLICY own ON identity_provider TO lightwell_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON identity_provider TO lightwell_app;
GRANT SELECT ON identity_provider TO lightwell_work;

-- NULL for a local account. Not a key into identity_provider: who somebody was stays known when it is gone.
ALTER TABLE person ADD COLUMN issuer text, ADD COLUMN subject text,
  ADD CONSTRAINT person_whole_identity CHECK ((issuer IS NULL) = (subject IS NULL)),
  ADD CONSTRAINT person_identity UNIQUE (tenant, issuer, subject);
