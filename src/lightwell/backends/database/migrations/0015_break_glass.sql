-- Break-glass: one patient opened for an hour, with a reason, or a sealed account used; judged afterwards.

ALTER TABLE person
  ADD sealed      timestamptz,               -- an emergency account: when its password went into an envelope
  ADD seal_broken timestamptz,               -- when somebody first opened that envelope
  ADD seal_places text[],                    -- from where it may be used
  ADD CONSTRAINT person_seal CHECK ((sealed IS NULL) = (seal_places IS NULL));

-- No reference to session or person: what was done in an emergency outlives the account.
CREATE TABLE opening (
  tenant     int NOT NULL REFERENCES tenant,
  opening_id uuid NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('patient', 'seal')),
  session_id uuid NOT NULL,
  person_id  uuid NOT NULL,
  login      text NOT NULL,                  -- who it was then
  origin     text NOT NULL DEFAULT '',
  since      timestamptz NOT NULL,
  until      timestamptz NOT NULL,
  issuer     text NOT NULL DEFAULT '',       -- as typed: says nothing of whether there is such a patient
  patient_id text NOT NULL DEFAULT '',
  reason     text NOT NULL DEFAULT '',
  ended      timestamptz,
  ended_by   text,                           -- 'time', or who
  reviewed   timestamptz,
  reviewer   text,
  verdict    text CHECK (verdict IN ('justified', 'not-justified')),
  remark     text NOT NULL DEFAULT '',
  PRIMARY KEY (tenant, opening_id),
  CHECK ((kind = 'patient') = (patient_id <> '')),
  CHECK (until <= since + interval '24 hours'),
  CHECK ((reviewed IS NULL) = (verdict IS NULL) AND (reviewed IS NULL) = (reviewer IS NULL))
);
CREATE UNIQUE INDEX opening_one ON opening (tenant, session_id) WHERE ended IS NULL AND kind = 'patient';
CREATE INDEX opening_session ON opening (tenant, session_id) WHERE ended IS NULL;
CREATE INDEX opening_person ON opening (tenant, person_id) WHERE ended IS NULL;
CREATE INDEX opening_newest ON opening (tenant, since DESC, opening_id DESC);
CREATE INDEX opening_waits ON opening (tenant, since DESC, opening_id DESC) WHERE reviewed IS NULL;

ALTER TABLE opening ENABLE ROW LEVEL SECURITY;
ALTER TABLE opening FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON opening TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()));
CREATE POLICY work ON opening TO lightwell_work USING (true) WITH CHECK (true);
CREATE POLICY own ON opening TO lightwell_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON opening TO lightwell_app, lightwell_work;
-- What was opened, by whom and why, is written once.
GRANT UPDATE (ended, ended_by, reviewed, reviewer, verdict, remark) ON opening TO lightwell_app, lightwell_work;

-- What the bearer of a session has open, beside `bearer_of` and asked with it. The patient as typed becomes the
-- keys the archive has for it: an ID without issuer is that of every sender that stated none (its issuer is made
-- up and begins with '~'); one that was stated and looks made up is kept behind a backslash (patients.model).
CREATE FUNCTION opened_by(asked bytea) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('id', o.opening_id, 'kind', o.kind, 'until', o.until, 'keys',
    coalesce((SELECT jsonb_agg(jsonb_build_array(p.issuer, p.pid)) FROM patient p
      WHERE o.kind = 'patient' AND p.tenant = o.tenant AND p.pid COLLATE "C" = o.patient_id AND CASE
        WHEN o.issuer = '' THEN p.issuer LIKE '~%' AND p.issuer NOT LIKE '~study:%'
        WHEN o.issuer LIKE '~%' THEN p.issuer = E'\\' || o.issuer
        ELSE p.issuer = o.issuer END), '[]'::jsonb))), '[]'::jsonb)
  FROM session s JOIN opening o ON o.tenant = s.tenant AND o.session_id = s.session_id AND o.ended IS NULL
  WHERE s.digest = asked
$$;
REVOKE ALL ON FUNCTION opened_by(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION opened_by(bytea) TO lightwell_app, lightwell_work;
