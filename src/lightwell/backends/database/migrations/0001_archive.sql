-- The first migration: tenants, peers, patients, the archive, the change feed and the audit record.
-- Run by lightwell_owner. lightwell_app (the doors) owns nothing and cannot bypass row-level security;
-- lightwell_work (sequencer, sweepers) sees all tenants.
-- Every tenant table leads its keys with `tenant`, so that a unique violation cannot tell of another's rows.

CREATE FUNCTION app_tenant() RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE v text := current_setting('app.tenant', true);
BEGIN
  IF v IS NULL OR v = '' THEN
    RAISE EXCEPTION 'tenant not set' USING ERRCODE = '42501';
  END IF;
  RETURN v::int;
END $$;

CREATE TABLE tenant (
  tenant    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name      text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
  label     text NOT NULL,
  aet       text NOT NULL UNIQUE,           -- the AE title by which peers call this tenant
  region    text NOT NULL DEFAULT 'local',
  demo      boolean NOT NULL DEFAULT false,
  suspended boolean NOT NULL DEFAULT false,
  created   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE site (
  tenant int NOT NULL REFERENCES tenant,
  name   text NOT NULL,
  zone   text NOT NULL DEFAULT 'UTC',       -- IANA time zone; dates are kept as recorded
  issuer text,
  PRIMARY KEY (tenant, name)
);

CREATE TABLE peer (
  tenant   int NOT NULL REFERENCES tenant,
  aet      text NOT NULL,
  host     text NOT NULL,
  port     int NOT NULL CHECK (port BETWEEN 0 AND 65535),
  type     text NOT NULL DEFAULT 'modality' CHECK (type IN ('modality', 'workstation', 'archive', 'ai')),
  allow    text[] NOT NULL DEFAULT '{}',
  site     text,
  issuer   text,
  charset  text,
  zone     text,
  syntaxes text[] NOT NULL DEFAULT '{}',
  certificate text,                          -- SHA-256 of the pinned client certificate, hex
  revoked  boolean NOT NULL DEFAULT false,
  changed  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, aet)
);

-- Rules that deny (a grant is a peer's `allow`, or the tenant's doors being open at all).
CREATE TABLE policy_rule (
  tenant  int NOT NULL REFERENCES tenant,
  rule_id bigint GENERATED ALWAYS AS IDENTITY,
  actor   text NOT NULL DEFAULT '*',         -- 'peer:CT1', 'web:*', '*'
  action  text NOT NULL DEFAULT '*',         -- an Action, or a prefix ending in '*'
  reason  text NOT NULL,
  PRIMARY KEY (tenant, rule_id)
);

CREATE TABLE patient (
  tenant      int NOT NULL REFERENCES tenant,
  patient_key bigint GENERATED ALWAYS AS IDENTITY,
  region      text NOT NULL DEFAULT 'local',
  issuer      text NOT NULL,
  pid         text NOT NULL,
  -- identity as first received: what later objects are compared with; never changes
  id_name     text NOT NULL DEFAULT '',
  id_birth    text NOT NULL DEFAULT '',
  id_sex      text NOT NULL DEFAULT '',
  -- effective values (original + overlay): what is matched and shown
  name        text NOT NULL DEFAULT '',      -- PN, component groups separated by '='
  name_key    text NOT NULL DEFAULT '',      -- folded for matching: lower case, no marks
  birth       text NOT NULL DEFAULT '',
  sex         text NOT NULL DEFAULT '',
  original    jsonb NOT NULL DEFAULT '{}',   -- DICOM JSON of patient-level attributes as received, supplemented
  attributes  jsonb NOT NULL DEFAULT '{}',   -- effective DICOM JSON
  flags       text[] NOT NULL DEFAULT '{}',
  version     int NOT NULL DEFAULT 0,        -- number of overlay changes
  PRIMARY KEY (tenant, patient_key),
  UNIQUE (tenant, issuer, pid)
);
CREATE INDEX patient_name ON patient (tenant, name_key COLLATE "C", patient_key);
CREATE INDEX patient_pid ON patient (tenant, pid COLLATE "C", patient_key);

-- One row a word of the folded name: infix, order-insensitive and fuzzy search by equality (leakproof).
CREATE TABLE patient_word (
  tenant      int NOT NULL,
  kind        smallint NOT NULL,             -- 1 word, 2 sound
  word        text COLLATE "C" NOT NULL,
  patient_key bigint NOT NULL,
  PRIMARY KEY (tenant, kind, word, patient_key),
  FOREIGN KEY (tenant, patient_key) REFERENCES patient ON DELETE CASCADE
);

CREATE TABLE study (
  tenant       int NOT NULL,
  study_key    bigint GENERATED ALWAYS AS IDENTITY,
  patient_key  bigint NOT NULL,              -- effective
  origin_patient_key bigint NOT NULL,        -- whose the first object said it was
  region       text NOT NULL DEFAULT 'local',
  study_uid    text NOT NULL,
  study_date   text NOT NULL DEFAULT '',     -- as recorded (YYYYMMDD), empty when absent
  study_time   text NOT NULL DEFAULT '',
  accession    text NOT NULL DEFAULT '',
  study_id     text NOT NULL DEFAULT '',
  description  text NOT NULL DEFAULT '',
  referring_key text NOT NULL DEFAULT '',    -- folded PN
  institution  text NOT NULL DEFAULT '',
  outside      boolean NOT NULL DEFAULT false,
  original     jsonb NOT NULL DEFAULT '{}',
  attributes   jsonb NOT NULL DEFAULT '{}',
  version      int NOT NULL DEFAULT 0,
  n_instances  bigint NOT NULL DEFAULT 0,    -- rolled up from study_delta by `work`
  n_bytes      bigint NOT NULL DEFAULT 0,
  n_rejected   bigint NOT NULL DEFAULT 0,
  received     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, study_key),
  UNIQUE (tenant, study_uid),
  FOREIGN KEY (tenant, patient_key) REFERENCES patient,
  FOREIGN KEY (tenant, origin_patient_key) REFERENCES patient
) WITH (fillfactor = 80);
CREATE INDEX study_newest ON study (tenant, study_date COLLATE "C" DESC, study_time COLLATE "C" DESC, study_uid COLLATE "C");
CREATE INDEX study_patient ON study (tenant, patient_key, study_date COLLATE "C" DESC);
CREATE INDEX study_accession ON study (tenant, accession COLLATE "C", study_key);
CREATE INDEX study_id ON study (tenant, study_id COLLATE "C", study_key);
CREATE INDEX study_referring ON study (tenant, referring_key COLLATE "C", study_key);
CREATE INDEX study_description ON study (tenant, description COLLATE "C", study_key);

CREATE TABLE series (
  tenant      int NOT NULL,
  series_key  bigint GENERATED ALWAYS AS IDENTITY,
  study_key   bigint NOT NULL,
  series_uid  text NOT NULL,
  modality    text NOT NULL DEFAULT '',
  number      int,
  description text NOT NULL DEFAULT '',
  body_part   text NOT NULL DEFAULT '',
  original    jsonb NOT NULL DEFAULT '{}',
  attributes  jsonb NOT NULL DEFAULT '{}',
  version     int NOT NULL DEFAULT 0,
  n_instances bigint NOT NULL DEFAULT 0,
  n_rejected  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, series_key),
  UNIQUE (tenant, study_key, series_uid),
  FOREIGN KEY (tenant, study_key) REFERENCES study
) WITH (fillfactor = 80);
CREATE INDEX series_uid ON series (tenant, series_uid COLLATE "C");
CREATE INDEX series_modality ON series (tenant, modality COLLATE "C", study_key);

CREATE TABLE blob (
  tenant  int NOT NULL,
  blob_id uuid NOT NULL,
  kind    smallint NOT NULL,                 -- 1 landed
  region  text NOT NULL DEFAULT 'local',
  length  bigint NOT NULL,
  crc32c  bigint NOT NULL,
  inline  bytea,                             -- small objects, until `work` has put them into the store
  created timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, blob_id)
);
ALTER TABLE blob ALTER inline SET STORAGE EXTERNAL;
CREATE INDEX blob_inline ON blob (created) WHERE inline IS NOT NULL;

CREATE TABLE instance (
  tenant       int NOT NULL,
  instance_key bigint GENERATED ALWAYS AS IDENTITY,
  study_key    bigint NOT NULL,
  series_key   bigint NOT NULL,
  sop_uid      text NOT NULL,
  version      int NOT NULL DEFAULT 1,
  sop_class    text NOT NULL,
  syntax       text NOT NULL,
  number       int,
  rows_        int,
  cols         int,
  bits         int,
  frames       int,
  blob_id      uuid NOT NULL,
  off          bigint NOT NULL,              -- of the Part 10 object within the blob
  length       bigint NOT NULL,
  data_off     int NOT NULL,                 -- of the data set within the object
  pixel_off    bigint,                       -- of the pixel data value within the data set
  pixel_len    bigint,                       -- NULL: undefined length (encapsulated)
  pixel_tag    bigint,
  frame_index  bytea,
  sha256       bytea NOT NULL,               -- of the data set as received
  defects      text[] NOT NULL DEFAULT '{}',
  rejected     text,                         -- code of the rejection in force
  source       text NOT NULL DEFAULT '',     -- channel and sending AE
  received     timestamptz NOT NULL DEFAULT now(),
  seen         int NOT NULL DEFAULT 1,
  edits        jsonb,                        -- overlay at instance level
  edit_version int NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, instance_key),
  UNIQUE (tenant, sop_uid, version),
  FOREIGN KEY (tenant, series_key) REFERENCES series
);
CREATE INDEX instance_series ON instance (tenant, series_key, number);
CREATE INDEX instance_blob ON instance (tenant, blob_id);
CREATE INDEX instance_received ON instance (received);

-- What was kept but is in no clinical list: held for a person, candidates, conflicts, unreadable bytes.
CREATE TABLE qc_item (
  tenant     int NOT NULL REFERENCES tenant,
  item_id    bigint GENERATED ALWAYS AS IDENTITY,
  kind       text NOT NULL CHECK (kind IN ('held', 'candidate', 'conflict', 'quarantined')),
  reason     text NOT NULL,
  study_uid  text NOT NULL DEFAULT '',
  series_uid text NOT NULL DEFAULT '',
  sop_uid    text NOT NULL DEFAULT '',
  issuer     text NOT NULL DEFAULT '',
  pid        text NOT NULL DEFAULT '',
  patient_name text NOT NULL DEFAULT '',
  sop_class  text NOT NULL DEFAULT '',
  syntax     text NOT NULL DEFAULT '',
  source     text NOT NULL DEFAULT '',
  blob_id    uuid NOT NULL,
  off        bigint NOT NULL DEFAULT 0,
  length     bigint NOT NULL,
  data_off   int NOT NULL DEFAULT 0,
  sha256     bytea NOT NULL,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen  timestamptz NOT NULL DEFAULT now(),
  seen       int NOT NULL DEFAULT 1,
  resolved   text,
  PRIMARY KEY (tenant, item_id),
  UNIQUE (tenant, kind, sop_uid, study_uid, sha256)
);
CREATE INDEX qc_study ON qc_item (tenant, study_uid) WHERE resolved IS NULL;
CREATE INDEX qc_sop ON qc_item (tenant, sop_uid);

-- Versioned edits. Effective = original + every edit in force, lowest version first.
CREATE TABLE overlay (
  tenant  int NOT NULL REFERENCES tenant,
  edit_id uuid NOT NULL,
  level   text NOT NULL CHECK (level IN ('patient', 'study', 'series', 'instance')),
  target  text NOT NULL,                     -- 'issuer\pid', or the UID
  version int NOT NULL,
  edits   jsonb NOT NULL,                    -- DICOM JSON; null removes
  reason  text NOT NULL,
  author  text NOT NULL,
  at      timestamptz NOT NULL,
  undone_at timestamptz,
  undone_by text,
  PRIMARY KEY (tenant, edit_id),
  UNIQUE (tenant, level, target, version)
);

CREATE TABLE rejection (
  tenant     int NOT NULL REFERENCES tenant,
  reject_id  uuid NOT NULL,
  study_uid  text NOT NULL,
  series_uid text,
  sop_uid    text,
  code       text NOT NULL,                  -- 113001 113037 113038 113039 (PS3.16 CID 7011)
  reason     text NOT NULL,
  author     text NOT NULL,
  at         timestamptz NOT NULL,
  undone_at  timestamptz,
  undone_by  text,
  PRIMARY KEY (tenant, reject_id)
);
CREATE INDEX rejection_study ON rejection (tenant, study_uid);

CREATE TABLE study_delta (
  tenant     int NOT NULL,
  id         bigint GENERATED ALWAYS AS IDENTITY,
  study_key  bigint NOT NULL,
  series_key bigint NOT NULL,
  n          int NOT NULL,
  bytes      bigint NOT NULL,
  rejected   int NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX study_delta_study ON study_delta (tenant, study_key);

CREATE TABLE lease (
  tenant     int NOT NULL REFERENCES tenant,
  lease_id   uuid NOT NULL,
  actor      text NOT NULL,
  channel    text NOT NULL,
  purpose    text NOT NULL,
  study_uid  text NOT NULL,
  series_uid text,
  granted    timestamptz NOT NULL DEFAULT now(),
  expires    timestamptz NOT NULL,
  closed     timestamptz,
  revoked    boolean NOT NULL DEFAULT false,
  instances  bigint NOT NULL DEFAULT 0,
  bytes      bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, lease_id)
);
CREATE INDEX lease_open ON lease (expires) WHERE closed IS NULL;

CREATE TABLE commitment (
  tenant          int NOT NULL REFERENCES tenant,
  peer            text NOT NULL,
  transaction_uid text NOT NULL,
  called          text NOT NULL,             -- the AE title the peer called us by: we answer as it
  items           jsonb NOT NULL,            -- [[sop class, sop uid], …]
  result          jsonb,
  state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'given_up')),
  attempts        int NOT NULL DEFAULT 0,
  next_try        timestamptz NOT NULL DEFAULT now(),
  requested       timestamptz NOT NULL DEFAULT now(),
  finished        timestamptz,
  PRIMARY KEY (tenant, peer, transaction_uid)
);
CREATE INDEX commitment_due ON commitment (next_try) WHERE state = 'waiting';

-- Change feed and audit: inserted without a position; the sequencer gives dense positions by batch.
CREATE TABLE event (
  tenant   int NOT NULL,
  xid      xid8 NOT NULL DEFAULT pg_current_xact_id(),
  event_id bigint GENERATED ALWAYS AS IDENTITY,
  kind     text NOT NULL,
  subject  jsonb NOT NULL,                   -- UIDs and codes only, never patient data
  at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, xid, event_id)
);
CREATE INDEX event_x ON event (xid);

CREATE TABLE audit (
  tenant   int NOT NULL,
  xid      xid8 NOT NULL DEFAULT pg_current_xact_id(),
  audit_id bigint GENERATED ALWAYS AS IDENTITY,
  at       timestamptz NOT NULL,
  actor    text NOT NULL,
  action   text NOT NULL,
  outcome  text NOT NULL,                    -- done, failed, refused
  channel  text NOT NULL,
  origin   text NOT NULL DEFAULT '',         -- network address
  purpose  text NOT NULL DEFAULT '',
  study_uid text NOT NULL DEFAULT '',
  subject  text NOT NULL DEFAULT '',
  detail   text NOT NULL DEFAULT '',
  trace    text NOT NULL DEFAULT '',
  leaf     bytea NOT NULL,
  PRIMARY KEY (tenant, xid, audit_id)
);
CREATE INDEX audit_x ON audit (xid);
CREATE INDEX audit_study ON audit (tenant, study_uid, at) WHERE study_uid <> '';

CREATE TABLE feed_batch  (tenant int NOT NULL, first_seq bigint NOT NULL, n int NOT NULL, w_from xid8 NOT NULL, w_to xid8 NOT NULL, PRIMARY KEY (tenant, first_seq));
CREATE TABLE audit_batch (tenant int NOT NULL, first_seq bigint NOT NULL, n int NOT NULL, w_from xid8 NOT NULL, w_to xid8 NOT NULL, head bytea NOT NULL, PRIMARY KEY (tenant, first_seq));
CREATE TABLE sequencer (only_one boolean PRIMARY KEY CHECK (only_one), watermark xid8 NOT NULL);
INSERT INTO sequencer VALUES (true, pg_snapshot_xmin(pg_current_snapshot()));

CREATE TABLE heartbeat (name text PRIMARY KEY, role text NOT NULL, pid int NOT NULL, at timestamptz NOT NULL DEFAULT now(), detail jsonb NOT NULL DEFAULT '{}');

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['tenant','site','peer','policy_rule','patient','patient_word','study','series','blob','instance','qc_item',
                           'overlay','rejection','study_delta','lease','commitment','event','audit','feed_batch','audit_batch'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO lightwell_app, lightwell_work', t);
  END LOOP;
END $$;
REVOKE INSERT, UPDATE ON tenant FROM lightwell_app;
REVOKE UPDATE ON event, audit FROM lightwell_app, lightwell_work;      -- append only
REVOKE INSERT, UPDATE ON feed_batch, audit_batch FROM lightwell_app;
GRANT DELETE ON peer, site, policy_rule, patient_word TO lightwell_app;
GRANT DELETE ON blob, study_delta, instance, qc_item, lease TO lightwell_work;
GRANT DELETE ON blob, instance TO lightwell_app;                       -- a row whose bytes could not be synced is withdrawn
GRANT SELECT, UPDATE ON sequencer TO lightwell_work;
GRANT SELECT ON sequencer TO lightwell_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON heartbeat TO lightwell_app, lightwell_work;

-- Who is called? Answered before a tenant is known, so by a function that shows nothing else.
CREATE FUNCTION tenant_directory() RETURNS TABLE (tenant int, name text, label text, aet text, region text, demo boolean, suspended boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, name, label, aet, region, demo, suspended FROM tenant ORDER BY tenant $$;
REVOKE ALL ON FUNCTION tenant_directory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_directory() TO lightwell_app, lightwell_work;
