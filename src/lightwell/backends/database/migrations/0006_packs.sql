-- Settled series: instances lie in packs (docs/design/storage.md). blob.kind: 1 landed, 2 pack, 3 derived,
-- 4 manifest.

ALTER TABLE instance
  ADD coded bytea,                           -- of a coded pack entry: what reading it needs; NULL: as received
  ADD settled text;                          -- NULL not yet; 'coded', or why it lies in its pack as received

ALTER TABLE tenant
  ADD settling text NOT NULL DEFAULT 'settle' CHECK (settling IN ('settle', 'as-received'));
DROP FUNCTION tenant_directory();
CREATE FUNCTION tenant_directory() RETURNS TABLE (tenant int, name text, label text, aet text, region text, demo boolean, suspended boolean, settling text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
$$ SELECT tenant, name, label, aet, region, demo, suspended, settling FROM tenant ORDER BY tenant $$;
REVOKE ALL ON FUNCTION tenant_directory() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_directory() TO lightwell_app, lightwell_work;

CREATE TABLE series_pack (
  tenant     int NOT NULL,
  series_key bigint NOT NULL,
  generation int NOT NULL,
  pack       uuid NOT NULL,
  manifest   uuid NOT NULL,
  metadata   uuid NOT NULL,
  preview    uuid,
  entries    int NOT NULL,
  raw        bigint NOT NULL,                -- bytes of the data sets as received
  packed     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, series_key, generation),
  FOREIGN KEY (tenant, series_key) REFERENCES series
);

-- Blobs that no row refers to any more; `work` deletes them once their time has come and no lease that
-- was granted before is open.
CREATE TABLE blob_going (
  tenant  int NOT NULL,
  blob_id uuid NOT NULL,
  study_key bigint NOT NULL,
  since   timestamptz NOT NULL DEFAULT now(),
  after   timestamptz NOT NULL,
  PRIMARY KEY (tenant, blob_id)
);
CREATE INDEX blob_going_after ON blob_going (after);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['series_pack', 'blob_going'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO lightwell_app, lightwell_work', t);
    EXECUTE format('GRANT DELETE ON %I TO lightwell_app, lightwell_work', t);
  END LOOP;
END $$;

-- As in 0002, but several instances may lie in one blob: a re-index finds them in packs.
CREATE OR REPLACE FUNCTION ingest_instances(
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
    ON CONFLICT (tenant, blob_id) DO NOTHING
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
