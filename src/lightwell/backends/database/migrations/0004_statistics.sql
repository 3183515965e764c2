-- Plans of a young database. Until a table was analysed, the planner takes any index that begins with
-- `tenant` for as good as the one that names the row, keeps that plan, and reads the whole tenant for
-- every arrival. Autovacuum looks once a minute; `work` looks every two seconds and has what is young
-- analysed. An analysis makes every session plan anew.
CREATE FUNCTION refresh_statistics() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  t text;
  n int := 0;
BEGIN
  FOR t IN
    SELECT relname FROM pg_stat_user_tables
    WHERE schemaname = 'public' AND n_live_tup < 200000
      AND n_mod_since_analyze > 30 + (0.3 * n_live_tup)::bigint
  LOOP
    EXECUTE format('ANALYZE %I', t);
    n := n + 1;
  END LOOP;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION refresh_statistics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_statistics() TO lightwell_work;
