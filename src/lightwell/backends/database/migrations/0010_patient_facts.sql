-- A patient whose first object had no name, birth date or sex takes them from the next one that has: what
-- nobody said can be contradicted by nobody, and cannot be searched for.

-- Elements that are new, or that had no value until now.
CREATE FUNCTION told_anew(known jsonb, said jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(said) e
  WHERE NOT known ? e.key OR (e.value ? 'Value' AND NOT known -> e.key ? 'Value')
$f$;

-- Those of them that no correction has touched.
CREATE FUNCTION unedited(said jsonb, original jsonb, attributes jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
  SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(said) e
  WHERE attributes -> e.key IS NOT DISTINCT FROM original -> e.key
$f$;

-- As in 0002, but for the patient.
CREATE OR REPLACE FUNCTION ingest_parents(
  p_tenant int,
  -- patients: issuer, pid, as judged (name, birth, sex), effective when new, words
  a_issuer text[], a_pid text[], a_name text[], a_birth text[], a_sex text[], a_name_key text[], a_attributes text[], a_flags text[],
  w_issuer text[], w_pid text[], w_kind smallint[], w_word text[],
  -- studies
  s_issuer text[], s_pid text[], s_uid text[], s_date text[], s_time text[], s_accession text[], s_id text[], s_description text[],
  s_referring text[], s_institution text[], s_outside boolean[], s_attributes text[],
  -- series
  e_study text[], e_uid text[], e_modality text[], e_number int[], e_description text[], e_body_part text[], e_attributes text[]
) RETURNS void LANGUAGE plpgsql AS $f$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.tenant', p_tenant::text, true);
  INSERT INTO patient (tenant, issuer, pid, id_name, id_birth, id_sex, name, name_key, birth, sex, original, attributes, flags)
  SELECT p_tenant, u.issuer, u.pid, u.name, u.birth, u.sex, u.name, u.name_key, u.birth, u.sex, u.attributes::jsonb, u.attributes::jsonb,
         string_to_array(u.flags, ' ')
  FROM unnest(a_issuer, a_pid, a_name, a_birth, a_sex, a_name_key, a_attributes, a_flags)
       u(issuer, pid, name, birth, sex, name_key, attributes, flags)
  ORDER BY u.issuer, u.pid
  ON CONFLICT (tenant, issuer, pid) DO UPDATE
    SET id_name = coalesce(nullif(patient.id_name, ''), excluded.id_name),
        id_birth = coalesce(nullif(patient.id_birth, ''), excluded.id_birth),
        id_sex = coalesce(nullif(patient.id_sex, ''), excluded.id_sex),
        name = CASE WHEN patient.id_name || patient.name = '' THEN excluded.name ELSE patient.name END,
        name_key = CASE WHEN patient.id_name || patient.name = '' THEN excluded.name_key ELSE patient.name_key END,
        birth = CASE WHEN patient.id_birth || patient.birth = '' THEN excluded.birth ELSE patient.birth END,
        sex = CASE WHEN patient.id_sex || patient.sex = '' THEN excluded.sex ELSE patient.sex END,
        original = patient.original || told_anew(patient.original, excluded.original),
        attributes = patient.attributes || unedited(told_anew(patient.original, excluded.original), patient.original, patient.attributes),
        flags = ARRAY(SELECT DISTINCT f FROM unnest(patient.flags || excluded.flags) f WHERE f <> '' ORDER BY f)
    WHERE told_anew(patient.original, excluded.original) <> '{}' OR NOT (excluded.flags <@ patient.flags);
  INSERT INTO patient_word (tenant, kind, word, patient_key)
  SELECT DISTINCT p_tenant, u.kind, u.word, p.patient_key
  FROM unnest(w_issuer, w_pid, w_kind, w_word) u(issuer, pid, kind, word)
  JOIN patient p ON p.tenant = p_tenant AND p.issuer = u.issuer AND p.pid = u.pid AND p.version = 0
  ORDER BY 2, 3, 4
  ON CONFLICT DO NOTHING;
  -- Decisions were made on these identities: if another arrival was faster, decide again.
  IF EXISTS (
    SELECT 1 FROM unnest(a_issuer, a_pid, a_name, a_birth, a_sex) u(issuer, pid, name, birth, sex)
    JOIN patient p ON p.tenant = p_tenant AND p.issuer = u.issuer AND p.pid = u.pid
    WHERE (p.id_name, p.id_birth, p.id_sex) IS DISTINCT FROM (u.name, u.birth, u.sex)
  ) THEN
    RAISE EXCEPTION 'patient facts changed' USING ERRCODE = 'LW001';
  END IF;
  INSERT INTO study (tenant, patient_key, origin_patient_key, study_uid, study_date, study_time, accession, study_id, description,
                     referring_key, institution, outside, original, attributes)
  SELECT p_tenant, p.patient_key, p.patient_key, u.uid, u.date, u.time, u.accession, u.id, u.description,
         u.referring, u.institution, u.outside, u.attributes::jsonb, u.attributes::jsonb
  FROM unnest(s_issuer, s_pid, s_uid, s_date, s_time, s_accession, s_id, s_description, s_referring, s_institution, s_outside, s_attributes)
       u(issuer, pid, uid, date, time, accession, id, description, referring, institution, outside, attributes)
  JOIN patient p ON p.tenant = p_tenant AND p.issuer = u.issuer AND p.pid = u.pid
  ORDER BY u.uid
  ON CONFLICT (tenant, study_uid) DO UPDATE
    SET original = excluded.original || study.original, attributes = study.attributes || (excluded.original - ARRAY(SELECT jsonb_object_keys(study.original)))
    WHERE (excluded.original || study.original) IS DISTINCT FROM study.original;
  INSERT INTO series (tenant, study_key, series_uid, modality, number, description, body_part, original, attributes)
  SELECT p_tenant, s.study_key, u.uid, u.modality, u.number, u.description, u.body_part, u.attributes::jsonb, u.attributes::jsonb
  FROM unnest(e_study, e_uid, e_modality, e_number, e_description, e_body_part, e_attributes)
       u(study, uid, modality, number, description, body_part, attributes)
  JOIN study s ON s.tenant = p_tenant AND s.study_uid = u.study
  ORDER BY s.study_key, u.uid
  ON CONFLICT (tenant, study_key, series_uid) DO UPDATE
    SET original = excluded.original || series.original, attributes = series.attributes || (excluded.original - ARRAY(SELECT jsonb_object_keys(series.original)))
    WHERE (excluded.original || series.original) IS DISTINCT FROM series.original;
END $f$;
