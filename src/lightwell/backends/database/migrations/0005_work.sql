-- Durable work: runs as everybody may see them, what asks for them, and who carries them out.
-- The engine keeps its own records in the schema `dbos`; the rows here are what doors read and write.

-- One row a run. A door inserts (start) and sets `asked`; `work` alone writes the rest.
CREATE TABLE work_run (
  tenant      int NOT NULL REFERENCES tenant,
  run_id      text NOT NULL CHECK (length(run_id) BETWEEN 1 AND 200),
  workflow    text NOT NULL,
  key         text NOT NULL DEFAULT '',      -- what it is about; one unfinished run a key at a time when `due_work` starts it
  arguments   jsonb NOT NULL,                -- ids only, never patient data
  state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  asked       text CHECK (asked IN ('cancel', 'retry')),
  handed      boolean NOT NULL DEFAULT false, -- the engine has it
  step        text NOT NULL DEFAULT '',
  step_number int NOT NULL DEFAULT 0,
  done        bigint NOT NULL DEFAULT 0,
  total       bigint NOT NULL DEFAULT 0,
  what        text NOT NULL DEFAULT '',
  attempts    int NOT NULL DEFAULT 0,
  deaths      int NOT NULL DEFAULT 0,        -- how often a worker died in this very step
  error       text NOT NULL DEFAULT '',
  executor    text,
  incarnation uuid,
  created     timestamptz NOT NULL DEFAULT now(),
  updated     timestamptz NOT NULL DEFAULT now(),
  compared    timestamptz NOT NULL DEFAULT now(), -- with the engine's own record
  PRIMARY KEY (tenant, run_id)
) WITH (fillfactor = 80);
CREATE INDEX work_run_newest ON work_run (tenant, created DESC, run_id COLLATE "C" DESC);
CREATE INDEX work_run_state ON work_run (tenant, state, created DESC, run_id COLLATE "C" DESC);
CREATE INDEX work_run_key ON work_run (tenant, workflow, key) WHERE state IN ('waiting', 'running');
CREATE INDEX work_run_unhanded ON work_run (created) WHERE state = 'waiting' AND NOT handed;
CREATE INDEX work_run_asked ON work_run (updated) WHERE asked IS NOT NULL;
CREATE INDEX work_run_open ON work_run (compared) WHERE handed AND state IN ('waiting', 'running');

-- Messages on their way to a run; the row goes when the engine has taken it.
CREATE TABLE work_signal (
  tenant    int NOT NULL,
  signal_id uuid NOT NULL DEFAULT gen_random_uuid(),
  run_id    text NOT NULL,
  topic     text NOT NULL,
  message   jsonb NOT NULL,
  created   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, signal_id),
  FOREIGN KEY (tenant, run_id) REFERENCES work_run ON DELETE CASCADE
);
CREATE INDEX work_signal_created ON work_signal (created);

CREATE TABLE work_schedule (
  tenant    int NOT NULL REFERENCES tenant,
  name      text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  workflow  text NOT NULL,
  arguments jsonb NOT NULL,
  every     interval NOT NULL CHECK (every >= interval '1 second'),
  due       timestamptz NOT NULL,
  PRIMARY KEY (tenant, name)
);
CREATE INDEX work_schedule_due ON work_schedule (due);

-- How far each consumer has read the feed of each tenant: the last position it has dealt with.
CREATE TABLE feed_position (
  tenant   int NOT NULL REFERENCES tenant,
  consumer text NOT NULL,
  seq      bigint NOT NULL,
  PRIMARY KEY (tenant, consumer)
);

-- What waits for quiet: one row a workflow and key, moved on by each event, started when due.
CREATE TABLE due_work (
  tenant     int NOT NULL REFERENCES tenant,
  workflow   text NOT NULL,
  key        text NOT NULL,
  arguments  jsonb NOT NULL,
  first_seq  bigint NOT NULL,
  first_seen timestamptz NOT NULL,
  last_event timestamptz NOT NULL,
  due        timestamptz NOT NULL,
  events     bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant, workflow, key)
);
CREATE INDEX due_work_due ON due_work (due);

-- Who carries runs out. A row that is not touched for a while is declared dead, and its runs are given to others.
CREATE TABLE work_executor (
  executor    text PRIMARY KEY,
  incarnation uuid NOT NULL,
  host        text NOT NULL,
  pid         int NOT NULL,
  started     timestamptz NOT NULL DEFAULT now(),
  at          timestamptz NOT NULL DEFAULT now(),
  dead        boolean NOT NULL DEFAULT false
);

-- Which version of the engine's library has made the schema `dbos`.
CREATE TABLE work_engine (only_one boolean PRIMARY KEY CHECK (only_one), version text NOT NULL);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['work_run','work_signal','work_schedule','feed_position','due_work'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY; ALTER TABLE %I FORCE ROW LEVEL SECURITY', t, t);
    EXECUTE format('CREATE POLICY app ON %I TO lightwell_app USING (tenant = (SELECT app_tenant())) WITH CHECK (tenant = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY work ON %I TO lightwell_work USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY own ON %I TO lightwell_owner USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO lightwell_work', t);
  END LOOP;
END $$;
-- Doors ask; they do not say how a run is doing.
GRANT SELECT ON work_run, work_schedule, due_work TO lightwell_app;
GRANT INSERT (tenant, run_id, workflow, key, arguments) ON work_run TO lightwell_app;
GRANT UPDATE (asked, updated) ON work_run TO lightwell_app;
GRANT INSERT (tenant, run_id, topic, message) ON work_signal TO lightwell_app;
GRANT INSERT, UPDATE ON work_schedule TO lightwell_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON work_executor TO lightwell_work;
