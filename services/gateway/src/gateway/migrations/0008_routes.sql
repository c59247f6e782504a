-- the line that a job stands in: its format, or a flavour of it that other workers make; NULL: its format
ALTER TABLE export_jobs ADD COLUMN route text;
