-- One object store a region. What was bound before is the store of the region that there was.
ALTER TABLE bound_store ADD COLUMN region text NOT NULL DEFAULT 'local';
ALTER TABLE bound_store ALTER COLUMN region DROP DEFAULT;
ALTER TABLE bound_store DROP COLUMN only_one;
ALTER TABLE bound_store ADD PRIMARY KEY (region);

-- Where a tenant's objects lie says `tenant.region` alone. These columns were written as 'local' whatever it said.
COMMENT ON COLUMN blob.region IS 'not used: see tenant.region';
COMMENT ON COLUMN study.region IS 'not used: see tenant.region';
COMMENT ON COLUMN patient.region IS 'not used: see tenant.region';
