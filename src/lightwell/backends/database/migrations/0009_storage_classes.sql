-- Packs that nobody has opened for long lie in the cool store. A series of which a pack does is NEARLINE
-- (PS3.3 C.4.23.1.1: Instance Availability); where its bytes are is for the stores to say, not for a row.

ALTER TABLE series_pack ADD cooled timestamptz;        -- since when; NULL: hot
ALTER TABLE series ADD cool boolean NOT NULL DEFAULT false;
CREATE INDEX series_pack_hot ON series_pack (packed) WHERE cooled IS NULL;
CREATE INDEX series_pack_cool ON series_pack (cooled) WHERE cooled IS NOT NULL;
CREATE INDEX lease_study ON lease (tenant, study_uid, granted);
