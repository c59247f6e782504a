ALTER TABLE tokens ADD COLUMN expires_at timestamptz;
