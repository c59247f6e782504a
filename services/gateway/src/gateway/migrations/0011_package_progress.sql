-- how far a package is that is being built
ALTER TABLE deployment_targets ADD COLUMN stage text;
ALTER TABLE deployment_targets ADD COLUMN progress_percent double precision NOT NULL DEFAULT 0;
ALTER TABLE deployment_targets ADD COLUMN message text NOT NULL DEFAULT '';
