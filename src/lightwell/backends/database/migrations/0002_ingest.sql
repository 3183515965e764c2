-- The group commit: patients, studies, series and instances of one tenant in one transaction and one
-- round trip (measured: pipelined statements are the slow shape). Parents are given only when this
-- process has not seen them. Every source is sorted by its key, so that two groups lock in one order.

-- An attribute that a correction took away stays away: only tags the row never had are added.
CREATE FUNCTION ingest_parents(
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
    SET original = excluded.original || patient.original,
        attributes = patient.attributes || (excluded.original - ARRAY(SELECT jsonb_object_keys(patient.original))),
        flags = ARRAY(SELECT DISTINCT f FROM unnest(patient.flags || excluded.flags) f WHERE f <> '' ORDER BY f)
    WHERE (excluded.original || patient.original) IS DISTINCT FROM patient.original
       OR NOT (excluded.flags <@ patient.flags);
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

-- Returns the instances that were new.
CREATE FUNCTION ingest_instances(
  p_tenant int,
  -- instances
  i_issuer text[], i_pid text[], i_study text[], i_series text[], i_uid text[], i_class text[], i_syntax text[], i_number int[], i_rows int[],
  i_cols int[], i_bits int[], i_frames int[], i_blob uuid[], i_off bigint[], i_length bigint[], i_data_off int[], i_pixel_off bigint[],
  i_pixel_len bigint[], i_pixel_tag bigint[], i_frame_index bytea[], i_sha256 bytea[], i_crc bigint[], i_inline bytea[], i_defects text[],
  i_source text[], i_received timestamptz[],
  -- audit, one an instance
  t_at timestamptz[], t_actor text[], t_action text[], t_channel text[], t_origin text[], t_purpose text[], t_trace text[], t_detail text[], t_leaf bytea[]
) RETURNS TABLE (r_uid text, r_blob uuid) LANGUAGE plpgsql AS $f$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.tenant', p_tenant::text, true);
  RETURN QUERY
  WITH u AS MATERIALIZED (
    SELECT u.*, s.study_key, e.series_key
    FROM unnest(i_issuer, i_pid, i_study, i_series, i_uid, i_class, i_syntax, i_number, i_rows, i_cols, i_bits, i_frames, i_blob, i_off, i_length,
                i_data_off, i_pixel_off, i_pixel_len, i_pixel_tag, i_frame_index, i_sha256, i_crc, i_inline, i_defects, i_source, i_received,
                t_at, t_actor, t_action, t_channel, t_origin, t_purpose, t_trace, t_detail, t_leaf)
      u(issuer, pid, study, series, uid, class, syntax, number, rows_, cols, bits, frames, blob, off, length, data_off, pixel_off, pixel_len,
        pixel_tag, frame_index, sha256, crc, inline, defects, source, received, at, actor, action, channel, origin, purpose, trace, detail, leaf)
    JOIN patient p ON p.tenant = p_tenant AND p.issuer = u.issuer AND p.pid = u.pid
    -- a study belongs to whom its first object named: another's object finds no row here
    JOIN study s ON s.tenant = p_tenant AND s.study_uid = u.study AND s.origin_patient_key = p.patient_key
    JOIN series e ON e.tenant = p_tenant AND e.study_key = s.study_key AND e.series_uid = u.series
  ), i AS (
    INSERT INTO instance (tenant, study_key, series_key, sop_uid, sop_class, syntax, number, rows_, cols, bits, frames, blob_id, off, length, data_off,
                          pixel_off, pixel_len, pixel_tag, frame_index, sha256, defects, source, received)
    SELECT p_tenant, study_key, series_key, uid, class, syntax, number, rows_, cols, bits, frames, blob, off, length, data_off,
           pixel_off, pixel_len, pixel_tag, frame_index, sha256, string_to_array(defects, ' '), source, received
    FROM u ORDER BY uid
    ON CONFLICT (tenant, sop_uid, version) DO NOTHING
    RETURNING sop_uid, study_key, series_key, blob_id, length
  ), b AS (
    INSERT INTO blob (tenant, blob_id, kind, length, crc32c, inline)
    SELECT p_tenant, u.blob, 1, u.off + u.length, u.crc, u.inline FROM u JOIN i ON i.sop_uid = u.uid AND i.blob_id = u.blob
  ), v AS (
    INSERT INTO event (tenant, kind, subject)
    SELECT p_tenant, 'InstanceStored', jsonb_build_object('study', u.study, 'series', u.series, 'sop', u.uid)
    FROM u JOIN i ON i.sop_uid = u.uid AND i.blob_id = u.blob
  ), a AS (
    INSERT INTO audit (tenant, at, actor, action, outcome, channel, origin, purpose, trace, study_uid, subject, detail, leaf)
    SELECT p_tenant, u.at, u.actor, u.action, 'done', u.channel, u.origin, u.purpose, u.trace, u.study, u.uid, u.detail, u.leaf
    FROM u JOIN i ON i.sop_uid = u.uid AND i.blob_id = u.blob
  ), n AS (
    INSERT INTO study_delta (tenant, study_key, series_key, n, bytes)
    SELECT p_tenant, study_key, series_key, count(*), sum(length)::bigint FROM i GROUP BY study_key, series_key
  )
  SELECT sop_uid, blob_id FROM i;
END $f$;

CREATE FUNCTION ingest(
  p_tenant int,
  -- patients: issuer, pid, as judged (name, birth, sex), effective when new, words
  a_issuer text[], a_pid text[], a_name text[], a_birth text[], a_sex text[], a_name_key text[], a_attributes text[], a_flags text[],
  w_issuer text[], w_pid text[], w_kind smallint[], w_word text[],
  -- studies
  s_issuer text[], s_pid text[], s_uid text[], s_date text[], s_time text[], s_accession text[], s_id text[], s_description text[],
  s_referring text[], s_institution text[], s_outside boolean[], s_attributes text[],
  -- series
  e_study text[], e_uid text[], e_modality text[], e_number int[], e_description text[], e_body_part text[], e_attributes text[],
  -- instances
  i_issuer text[], i_pid text[], i_study text[], i_series text[], i_uid text[], i_class text[], i_syntax text[], i_number int[], i_rows int[],
  i_cols int[], i_bits int[], i_frames int[], i_blob uuid[], i_off bigint[], i_length bigint[], i_data_off int[], i_pixel_off bigint[],
  i_pixel_len bigint[], i_pixel_tag bigint[], i_frame_index bytea[], i_sha256 bytea[], i_crc bigint[], i_inline bytea[], i_defects text[],
  i_source text[], i_received timestamptz[],
  -- audit, one an instance
  t_at timestamptz[], t_actor text[], t_action text[], t_channel text[], t_origin text[], t_purpose text[], t_trace text[], t_detail text[], t_leaf bytea[]
) RETURNS TABLE (r_uid text, r_blob uuid) LANGUAGE plpgsql AS $f$
DECLARE
  written bigint;
BEGIN
  PERFORM ingest_parents(p_tenant, a_issuer, a_pid, a_name, a_birth, a_sex, a_name_key, a_attributes, a_flags, w_issuer, w_pid, w_kind, w_word, s_issuer, s_pid, s_uid, s_date, s_time, s_accession, s_id, s_description, s_referring, s_institution, s_outside, s_attributes, e_study, e_uid, e_modality, e_number, e_description, e_body_part, e_attributes);
  RETURN QUERY SELECT * FROM ingest_instances(p_tenant, i_issuer, i_pid, i_study, i_series, i_uid, i_class, i_syntax, i_number, i_rows, i_cols, i_bits, i_frames, i_blob, i_off, i_length, i_data_off, i_pixel_off, i_pixel_len, i_pixel_tag, i_frame_index, i_sha256, i_crc, i_inline, i_defects, i_source, i_received, t_at, t_actor, t_action, t_channel, t_origin, t_purpose, t_trace, t_detail, t_leaf);
  -- All or nothing: an arrival that is refused must not leave its parents behind.
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written < cardinality(i_uid) THEN
    RAISE EXCEPTION 'instance facts changed' USING ERRCODE = 'LW001';
  END IF;
END $f$;
