-- the zip of an edge or container package, once a packager has built it
ALTER TABLE deployment_targets ADD COLUMN package jsonb;
