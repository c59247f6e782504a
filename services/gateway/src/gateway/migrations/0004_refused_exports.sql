-- an export that is refused before any worker is asked has no request
ALTER TABLE export_jobs ALTER COLUMN request DROP NOT NULL;
