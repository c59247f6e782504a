CREATE TABLE deployment_targets (
    id uuid PRIMARY KEY,
    export_job_id uuid NOT NULL REFERENCES export_jobs,
    user_id uuid NOT NULL REFERENCES users,
    deployment_type text NOT NULL,
    name text NOT NULL,
    description text,
    config jsonb NOT NULL,
    trace_id uuid,
    traceparent text NOT NULL DEFAULT '',
    key_digest text,
    key_shown text,
    -- the state machine
    status text NOT NULL CHECK (status IN ('pending', 'deploying', 'active', 'inactive', 'failed')),
    desired text NOT NULL CHECK (desired IN ('active', 'inactive', 'deleted')),
    generation integer NOT NULL,
    observed_generation integer NOT NULL,
    revision integer NOT NULL,
    replicas integer NOT NULL DEFAULT 1,
    error jsonb,
    -- use
    request_count bigint NOT NULL DEFAULT 0,
    error_count bigint NOT NULL DEFAULT 0,
    total_inference_time_ms double precision NOT NULL DEFAULT 0,
    last_request_at timestamptz,
    -- bookkeeping
    requests integer NOT NULL DEFAULT 1,
    requested_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    deployed_at timestamptz,
    deactivated_at timestamptz,
    deleted_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deployment_targets_page ON deployment_targets (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX deployment_targets_unanswered ON deployment_targets (requested_at) WHERE observed_generation < generation;

CREATE TABLE deployment_history (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    deployment_target_id uuid NOT NULL REFERENCES deployment_targets,
    event_type text NOT NULL,
    event_data jsonb,
    status_before text,
    status_after text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by_user_id uuid REFERENCES users
);
CREATE INDEX deployment_history_of ON deployment_history (deployment_target_id, seq);

-- when each stream was made: a stream that is younger than its row here has lost its messages
CREATE TABLE streams (
    name text PRIMARY KEY,
    created_at timestamptz NOT NULL
);
