-- Pixel-exact tenants: a compressed original whose pixel values come back, and whose bytes do not. `syntax`,
-- `pixel_off`, `pixel_len` and `frame_index` of such a row describe what is kept; `sha256` stays the digest
-- of what arrived, so that a repeat is known again.

ALTER TABLE tenant DROP CONSTRAINT tenant_settling_check;
ALTER TABLE tenant ADD CONSTRAINT tenant_settling_check CHECK (settling IN ('settle', 'as-received', 'pixel-exact'));

ALTER TABLE instance
  ADD arrived_syntax text,                   -- in which it came; NULL: `syntax`, what arrived comes back
  ADD kept_sha256 bytea,                     -- of the data set that comes out instead
  ADD CONSTRAINT instance_kept CHECK ((arrived_syntax IS NULL) = (kept_sha256 IS NULL));
