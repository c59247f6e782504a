CREATE TABLE training_jobs (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    framework text NOT NULL,
    task_type text NOT NULL,
    model_name text NOT NULL,
    checkpoint_path text NOT NULL,
    classes jsonb,
    config jsonb,
    last_version integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX training_jobs_page ON training_jobs (user_id, created_at DESC, id DESC);

CREATE TABLE export_jobs (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    version integer NOT NULL CHECK (version > 0),
    version_tag text,
    is_default boolean NOT NULL DEFAULT false,
    trace_id uuid,
    traceparent text NOT NULL DEFAULT '',
    k8s_job_name text,
    process_id integer,
    -- what was asked for
    export_format text NOT NULL,
    framework text NOT NULL,
    task_type text NOT NULL,
    checkpoint_path text NOT NULL,
    export_config jsonb,
    optimization_config jsonb,
    validation_config jsonb,
    request jsonb NOT NULL,
    timeout_s integer NOT NULL,
    -- what facts say
    status text NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    stage text,
    progress_percent double precision NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    message text NOT NULL DEFAULT '',
    worker_id text NOT NULL DEFAULT '',
    proof text,
    model jsonb,
    package jsonb,
    parity_report jsonb,
    log jsonb,
    metadata jsonb,
    validation_metrics jsonb,
    error jsonb,
    -- bookkeeping
    event_seq integer NOT NULL DEFAULT 0,
    requests integer NOT NULL DEFAULT 1,
    requested_at timestamptz NOT NULL DEFAULT now(),
    heard_at timestamptz,
    attempt_started_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (training_job_id, version)
);
CREATE UNIQUE INDEX export_jobs_one_default ON export_jobs (training_job_id) WHERE is_default;
CREATE INDEX export_jobs_page ON export_jobs (user_id, created_at DESC, id DESC);
CREATE INDEX export_jobs_open ON export_jobs (status) WHERE status IN ('pending', 'running');
CREATE INDEX export_jobs_trace ON export_jobs (trace_id);

CREATE TABLE job_events (
    job_id uuid NOT NULL REFERENCES export_jobs,
    seq integer NOT NULL,
    name text NOT NULL,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, seq)
);
