-- Monthly quota. `used` is what was spent or can never be known not to have been; `leases` are what proxies hold on top.
CREATE TABLE ledger (
    user_id uuid NOT NULL,
    month date NOT NULL,
    used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    PRIMARY KEY (user_id, month)
);

-- One proxy's slice. It may spend up to `ceiling` without telling; `granted - ceiling` is surely unspent when it dies.
CREATE TABLE leases (
    lease_id uuid PRIMARY KEY,
    proxy_id text NOT NULL,
    user_id uuid NOT NULL,
    month date NOT NULL,
    granted bigint NOT NULL,
    ceiling bigint NOT NULL CHECK (ceiling <= granted),
    expires_at timestamptz NOT NULL
);
CREATE INDEX leases_by_user ON leases (user_id, month);
CREATE INDEX leases_by_expiry ON leases (expires_at);

-- Charges what the dead may have spent and gives the rest back.
CREATE FUNCTION settle_expired(p_user uuid, p_month date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH dead AS (
        DELETE FROM leases WHERE user_id = p_user AND month = p_month AND expires_at < clock_timestamp()
        RETURNING ceiling
    )
    UPDATE ledger SET used = used + coalesce((SELECT sum(ceiling) FROM dead), 0)
    WHERE user_id = p_user AND month = p_month AND EXISTS (SELECT FROM dead);
END $$;

-- Tops a lease up. `p_spent` is what its proxy has spent so far, `p_ahead` what it may spend before it asks again.
-- A lease that others have settled since is answered with lost = true; the proxy then starts a new one.
CREATE FUNCTION renew(
    p_lease uuid, p_is_new boolean, p_proxy text, p_user uuid, p_month date, p_limit bigint,
    p_spent bigint, p_ahead bigint, p_slice bigint, p_ttl interval,
    OUT granted bigint, OUT ceiling bigint, OUT remaining bigint, OUT lost boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_used bigint;
    v_others bigint;
BEGIN
    INSERT INTO ledger (user_id, month) VALUES (p_user, p_month) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM ledger l WHERE l.user_id = p_user AND l.month = p_month FOR UPDATE;
    UPDATE leases l SET expires_at = clock_timestamp() + p_ttl WHERE l.lease_id = p_lease;
    lost := NOT FOUND AND NOT p_is_new;
    PERFORM settle_expired(p_user, p_month);
    SELECT l.used INTO v_used FROM ledger l WHERE l.user_id = p_user AND l.month = p_month;
    SELECT coalesce(sum(l.granted), 0) INTO v_others
    FROM leases l WHERE l.user_id = p_user AND l.month = p_month AND l.lease_id <> p_lease;
    IF lost THEN
        granted := 0; ceiling := 0;
        remaining := greatest(p_limit - v_used - v_others, 0);
        RETURN;
    END IF;
    remaining := greatest(p_limit - v_used - v_others - p_spent, 0);
    granted := p_spent + least(remaining, greatest(p_ahead, least(p_slice, remaining / 50)));
    ceiling := least(granted, p_spent + p_ahead);
    INSERT INTO leases AS l (lease_id, proxy_id, user_id, month, granted, ceiling, expires_at)
    VALUES (p_lease, p_proxy, p_user, p_month, renew.granted, renew.ceiling, clock_timestamp() + p_ttl)
    ON CONFLICT (lease_id) DO UPDATE SET granted = excluded.granted, ceiling = excluded.ceiling;
END $$;

-- Ends a lease with what it really spent; a lease that others have settled stays settled.
CREATE FUNCTION settle(p_lease uuid, p_user uuid, p_month date, p_spent bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM ledger l WHERE l.user_id = p_user AND l.month = p_month FOR UPDATE;
    DELETE FROM leases l WHERE l.lease_id = p_lease;
    IF FOUND THEN
        UPDATE ledger l SET used = l.used + p_spent WHERE l.user_id = p_user AND l.month = p_month;
    END IF;
END $$;
