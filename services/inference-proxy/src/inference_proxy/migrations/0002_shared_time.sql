-- One clock for months, minutes and leases; a function of our own, so that a test can move it.
CREATE FUNCTION utc_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

CREATE FUNCTION month_of(p_moment timestamptz) RETURNS date LANGUAGE sql STABLE AS
    $$ SELECT date_trunc('month', p_moment AT TIME ZONE 'UTC')::date $$;

CREATE FUNCTION month_end(p_month date) RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT (p_month + interval '1 month') AT TIME ZONE 'UTC' $$;

-- `turn` numbers what a proxy says of its lease: a statement that was held up on its way and comes late says nothing.
-- Ended leases stay for a while, for the same reason.
ALTER TABLE leases ADD COLUMN turn bigint NOT NULL DEFAULT 0, ADD COLUMN ended_at timestamptz;
DROP INDEX leases_by_user, leases_by_expiry;
CREATE INDEX leases_held ON leases (user_id, month) WHERE ended_at IS NULL;
CREATE INDEX leases_by_expiry ON leases (expires_at) WHERE ended_at IS NULL;
CREATE INDEX leases_ended ON leases (ended_at) WHERE ended_at IS NOT NULL;
CREATE VIEW held AS SELECT * FROM leases WHERE ended_at IS NULL;

-- Batches of unlimited use that were counted: a batch told twice counts once.
CREATE TABLE batches (
    batch_id uuid PRIMARY KEY,
    counted_at timestamptz NOT NULL DEFAULT utc_now()
);
CREATE INDEX batches_by_age ON batches (counted_at);

-- The counters of minutes lie in the bus's memory. `epoch` counts how often they were made, `lost_at` when they were last
-- lost. A proxy's `epoch` is the one into which it has put all that it admitted; null if it never admitted anything.
CREATE TABLE counters (
    is_it boolean PRIMARY KEY DEFAULT true CHECK (is_it),
    epoch bigint NOT NULL DEFAULT 0,
    lost_at timestamptz
);
INSERT INTO counters DEFAULT VALUES;
CREATE TABLE proxies (
    proxy_id text PRIMARY KEY,
    epoch bigint,
    expires_at timestamptz NOT NULL
);

DROP FUNCTION renew(uuid, boolean, text, uuid, date, bigint, bigint, bigint, bigint, interval);
DROP FUNCTION settle(uuid, uuid, date, bigint);

CREATE FUNCTION lock_month(p_user uuid, p_month date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger (user_id, month) VALUES (p_user, p_month) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM ledger l WHERE l.user_id = p_user AND l.month = p_month FOR UPDATE;
END $$;

-- Charges what the dead may have spent and gives the rest back; the caller holds the month's row.
CREATE OR REPLACE FUNCTION settle_expired(p_user uuid, p_month date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_month(p_user, p_month);
    WITH dead AS (
        UPDATE leases SET ended_at = utc_now()
        WHERE user_id = p_user AND month = p_month AND ended_at IS NULL AND expires_at < utc_now()
        RETURNING ceiling
    )
    UPDATE ledger SET used = used + coalesce((SELECT sum(ceiling) FROM dead), 0)
    WHERE user_id = p_user AND month = p_month AND EXISTS (SELECT FROM dead);
END $$;

-- Tops a lease up. `p_spent` is what its proxy has spent so far, `p_ahead` what it may spend before it asks again.
-- The month is this database's; a lease of another month, one that others have settled, or a statement that comes late
-- is answered with lost = true. A lease may be spent for `left_s` seconds after the question, then its month is over.
CREATE FUNCTION renew(
    p_lease uuid, p_is_new boolean, p_turn bigint, p_proxy text, p_user uuid, p_limit bigint,
    p_spent bigint, p_ahead bigint, p_slice bigint, p_ttl interval,
    OUT granted bigint, OUT ceiling bigint, OUT remaining bigint, OUT lost boolean, OUT month date,
    OUT left_s double precision
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := utc_now();
    v_known leases;
    v_used bigint;
    v_others bigint;
BEGIN
    month := month_of(v_now);
    left_s := extract(epoch FROM month_end(month) - v_now);
    PERFORM lock_month(p_user, month);
    SELECT * INTO v_known FROM leases l WHERE l.lease_id = p_lease;
    IF FOUND THEN
        lost := v_known.ended_at IS NOT NULL OR v_known.turn >= p_turn OR v_known.month <> renew.month;
    ELSE
        lost := NOT p_is_new;
    END IF;
    IF NOT lost THEN
        UPDATE leases l SET expires_at = utc_now() + p_ttl WHERE l.lease_id = p_lease;
    END IF;
    PERFORM settle_expired(p_user, month);
    SELECT l.used INTO v_used FROM ledger l WHERE l.user_id = p_user AND l.month = renew.month;
    SELECT coalesce(sum(l.granted), 0) INTO v_others
    FROM held l WHERE l.user_id = p_user AND l.month = renew.month AND l.lease_id <> p_lease;
    IF lost THEN
        granted := 0; ceiling := 0;
        remaining := greatest(p_limit - v_used - v_others, 0);
        RETURN;
    END IF;
    remaining := greatest(p_limit - v_used - v_others - p_spent, 0);
    granted := p_spent + least(remaining, greatest(p_ahead, least(p_slice, remaining / 50)));
    ceiling := least(granted, p_spent + p_ahead);
    INSERT INTO leases AS l (lease_id, proxy_id, user_id, month, granted, ceiling, turn, expires_at)
    VALUES (p_lease, p_proxy, p_user, renew.month, renew.granted, renew.ceiling, p_turn, utc_now() + p_ttl)
    ON CONFLICT (lease_id) DO UPDATE
    SET granted = excluded.granted, ceiling = excluded.ceiling, turn = excluded.turn;
END $$;

-- Ends a lease with what it really spent. One that others have settled stays settled; one that never came into being never will.
CREATE FUNCTION settle(p_lease uuid, p_proxy text, p_user uuid, p_spent bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_month date := month_of(utc_now());
    v_known leases;
BEGIN
    PERFORM lock_month(p_user, v_month);
    SELECT * INTO v_known FROM leases WHERE lease_id = p_lease;
    IF NOT FOUND THEN
        INSERT INTO leases (lease_id, proxy_id, user_id, month, granted, ceiling, expires_at, ended_at)
        VALUES (p_lease, p_proxy, p_user, v_month, 0, 0, utc_now(), utc_now());
        RETURN;
    END IF;
    IF v_known.month <> v_month THEN
        PERFORM lock_month(p_user, v_known.month);
    END IF;
    UPDATE leases SET ended_at = utc_now() WHERE lease_id = p_lease AND ended_at IS NULL;
    IF FOUND THEN
        UPDATE ledger SET used = used + p_spent WHERE user_id = p_user AND month = v_known.month;
    END IF;
END $$;

-- Adds requests that no limit bounds.
CREATE FUNCTION count_batch(p_batch uuid, p_users uuid[], p_months date[], p_requests bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO batches (batch_id) VALUES (p_batch) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO ledger AS l (user_id, month, used)
        SELECT * FROM unnest(p_users, p_months, p_requests) ORDER BY 1, 2
        ON CONFLICT (user_id, month) DO UPDATE SET used = l.used + excluded.used;
    END IF;
END $$;

-- A proxy tells that it lives and learns the time.
CREATE FUNCTION attend(p_proxy text, p_valid interval) RETURNS double precision LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proxies (proxy_id, expires_at) VALUES (p_proxy, utc_now() + p_valid)
    ON CONFLICT (proxy_id) DO UPDATE SET expires_at = excluded.expires_at;
    RETURN extract(epoch FROM utc_now());
END $$;

-- The counters are made anew, `epoch` answers their number; the first time nothing was lost.
CREATE FUNCTION begin_epoch() RETURNS bigint LANGUAGE sql AS $$
    UPDATE counters SET lost_at = CASE WHEN epoch > 0 THEN utc_now() END, epoch = epoch + 1 RETURNING epoch
$$;

-- A proxy has put back what it admitted. True once the counters hold all that was admitted in the running minute: every
-- proxy that may have admitted something in the minute of the loss has done so, or that minute is over.
CREATE FUNCTION restored(p_proxy text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint;
    v_lost timestamptz;
BEGIN
    SELECT epoch, lost_at INTO v_epoch, v_lost FROM counters;
    UPDATE proxies SET epoch = v_epoch WHERE proxy_id = p_proxy;
    RETURN v_lost IS NULL
        OR utc_now() >= date_trunc('minute', v_lost + interval '1 second') + interval '1 minute 1 second'
        OR NOT EXISTS (
            SELECT FROM proxies p
            WHERE p.epoch < v_epoch AND p.expires_at > date_trunc('minute', v_lost - interval '1 second')
        );
END $$;
