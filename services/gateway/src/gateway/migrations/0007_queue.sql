-- jobs wait here and not on the bus, where users would stand in one line; NULL: no worker was asked yet
ALTER TABLE export_jobs ADD COLUMN released_at timestamptz;
UPDATE export_jobs SET released_at = created_at;
CREATE INDEX export_jobs_waiting ON export_jobs (user_id, created_at) WHERE status = 'pending' AND released_at IS NULL;
-- when the present generation was asked for
ALTER TABLE deployment_targets ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now();
