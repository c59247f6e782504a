-- old progress is forgotten: jobs' stories would grow for ever
CREATE INDEX job_events_old_progress ON job_events (created_at) WHERE name = 'progressed';
