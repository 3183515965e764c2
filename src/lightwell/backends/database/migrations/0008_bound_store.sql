-- Which object store this database is the index of. A database that has none yet, beside a store that
-- holds images, is not the one they were stored with.
CREATE TABLE bound_store (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  store_id uuid NOT NULL,
  since    timestamptz NOT NULL DEFAULT now()
);
