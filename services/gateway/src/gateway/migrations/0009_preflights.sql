CREATE TABLE preflights (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    -- what was asked of the workers, and what was refused without asking them
    wishes jsonb NOT NULL,
    refused jsonb NOT NULL,
    -- seconds that such exports took, by format
    seconds jsonb NOT NULL,
    -- what a worker has answered
    forecasts jsonb,
    error jsonb,
    cached boolean NOT NULL DEFAULT false,
    duration_s double precision NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz
);
CREATE INDEX preflights_open ON preflights (user_id) WHERE answered_at IS NULL;
CREATE INDEX preflights_age ON preflights (created_at);
CREATE INDEX training_jobs_model ON training_jobs (framework, model_name);
