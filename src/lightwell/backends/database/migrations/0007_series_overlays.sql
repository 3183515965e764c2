-- An edit of a series is known by study and series: two studies may hold a series of one UID, and a
-- correction of one must not show in the other. Where that was so already, the edit stays with the study
-- that came first.
UPDATE overlay o SET target = s.study_uid || chr(92) || o.target
FROM (SELECT DISTINCT ON (e.tenant, e.series_uid) e.tenant, e.series_uid, s.study_uid
      FROM series e JOIN study s ON s.tenant = e.tenant AND s.study_key = e.study_key
      ORDER BY e.tenant, e.series_uid, e.series_key) s
WHERE o.level = 'series' AND o.tenant = s.tenant AND o.target = s.series_uid;
