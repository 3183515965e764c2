-- Whose patients are whose, who is limited to what, which studies are sensitive: what policies are told of a
-- study, and what a search is cut to.

CREATE TABLE relation (
  tenant    int NOT NULL,
  person_id uuid NOT NULL,
  kind      text NOT NULL CHECK (kind IN ('is', 'treats', 'treats-study', 'refers-as')),
  issuer    text NOT NULL DEFAULT '',        -- of the patient ID; the coding scheme of a code
  name      text NOT NULL,                   -- patient ID, study UID, code
  author    text NOT NULL,
  at        timestamptz NOT NULL,
  PRIMARY KEY (tenant, person_id, kind, issuer, name),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);

CREATE TABLE person_limit (
  tenant    int NOT NULL,
  person_id uuid NOT NULL,
  kind      text NOT NULL CHECK (kind IN ('site', 'department', 'modality')),
  value     text NOT NULL,
  PRIMARY KEY (tenant, person_id, kind, value),
  FOREIGN KEY (tenant, person_id) REFERENCES person ON DELETE CASCADE
);

-- By UID, so that a re-index does not lose it with the row.
CREATE TABLE sensitive_study (
  tenant    int NOT NULL REFERENCES tenant,
  study_uid text NOT NULL,
  reason    text NOT NULL,
  author    text NOT NULL,
  at        timestamptz NOT NULL,
  PRIMARY KEY (tenant, study_uid)
);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['relation', 'person_limit', 'sensitive_study'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO lightwell_app, lightwell_work', t);
  END LOOP;
END $$;
GRANT DELETE ON relation, person_limit, sensitive_study TO lightwell_app;

-- Who ordered a study, where it says so by a code (Referring Physician Identification Sequence, PS3.3 C.7.2.1):
-- coding scheme and code of its first item. Kept by a trigger, because row security lets only a plain column be
-- looked up by its index.
ALTER TABLE study ADD COLUMN referrer text NOT NULL DEFAULT '';

CREATE FUNCTION referrer_of(attributes jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT left(coalesce(
    nullif(attributes #>> '{00080096,Value,0,00401101,Value,0,00080102,Value,0}', '') || '\' ||
    nullif(attributes #>> '{00080096,Value,0,00401101,Value,0,00080100,Value,0}', ''), ''), 512)
$f$;

CREATE FUNCTION study_referrer() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  NEW.referrer := referrer_of(NEW.attributes);
  RETURN NEW;
END $f$;
CREATE TRIGGER study_referrer BEFORE INSERT OR UPDATE OF attributes ON study
  FOR EACH ROW EXECUTE FUNCTION study_referrer();

UPDATE study SET referrer = referrer_of(attributes) WHERE attributes ? '00080096';
CREATE INDEX study_referrer ON study (tenant, referrer COLLATE "C", study_key) INCLUDE (patient_key) WHERE referrer <> '';

-- Institutional Department Name of a series, in the same way.
ALTER TABLE series ADD COLUMN department text NOT NULL DEFAULT '';

CREATE FUNCTION series_department() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  NEW.department := left(coalesce(NEW.attributes #>> '{00081040,Value,0}', ''), 512);
  RETURN NEW;
END $f$;
CREATE TRIGGER series_department BEFORE INSERT OR UPDATE OF attributes ON series
  FOR EACH ROW EXECUTE FUNCTION series_department();

UPDATE series SET department = left(coalesce(attributes #>> '{00081040,Value,0}', ''), 512)
WHERE attributes ? '00081040';
CREATE INDEX series_department ON series (tenant, department COLLATE "C", study_key) WHERE department <> '';

-- The studies of a small institution in a large archive.
CREATE INDEX study_institution ON study (tenant, institution COLLATE "C", study_key);
