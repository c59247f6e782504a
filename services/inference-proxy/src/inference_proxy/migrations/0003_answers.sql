-- Requests with an Idempotency-Key. The row is the unit of the month: it is counted in `used` when the row appears, and taken
-- back only when a row without an answer goes. `expires_at` is the end of the claim of the proxy that works on it, then
-- the end of the answer's life. `answer` is null where it was too long to be kept.
CREATE TABLE answers (
    user_id uuid NOT NULL,
    deployment_id uuid NOT NULL,
    key bytea NOT NULL,
    request bytea NOT NULL,
    month date NOT NULL,
    token uuid NOT NULL,
    is_answered boolean NOT NULL DEFAULT false,
    answer bytea,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, deployment_id, key)
);
CREATE INDEX answers_by_expiry ON answers (expires_at);
CREATE INDEX answers_running ON answers (token) WHERE NOT is_answered;

-- outcome: mine (work on it), again (it was billed, its answer was not kept), kept (`answer`), running, mismatch, exhausted.
-- Whoever takes over from a proxy that died finds the unit paid.
CREATE FUNCTION claim(
    p_user uuid, p_deployment uuid, p_key bytea, p_request bytea, p_token uuid, p_limit bigint, p_claim interval,
    OUT outcome text, OUT answer bytea, OUT wait_s double precision, OUT remaining bigint, OUT month date,
    OUT left_s double precision
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := utc_now();
    v_known answers;
BEGIN
    month := month_of(v_now);
    left_s := extract(epoch FROM month_end(month) - v_now);
    wait_s := 0;
    PERFORM settle_expired(p_user, month);
    SELECT p_limit - l.used - coalesce((SELECT sum(h.granted) FROM held h WHERE h.user_id = p_user AND h.month = l.month), 0)
    INTO remaining FROM ledger l WHERE l.user_id = p_user AND l.month = claim.month;
    IF p_limit IS NOT NULL THEN
        remaining := greatest(remaining, 0);
    END IF;
    DELETE FROM answers a
    WHERE a.user_id = p_user AND a.deployment_id = p_deployment AND a.key = p_key AND a.is_answered AND a.expires_at < v_now;
    SELECT * INTO v_known FROM answers a
    WHERE a.user_id = p_user AND a.deployment_id = p_deployment AND a.key = p_key FOR UPDATE;
    IF NOT FOUND THEN
        outcome := CASE WHEN remaining = 0 THEN 'exhausted' ELSE 'mine' END;
        IF outcome = 'mine' THEN
            remaining := remaining - 1;
            UPDATE ledger l SET used = l.used + 1 WHERE l.user_id = p_user AND l.month = claim.month;
            INSERT INTO answers (user_id, deployment_id, key, request, month, token, expires_at)
            VALUES (p_user, p_deployment, p_key, p_request, claim.month, p_token, v_now + p_claim);
        END IF;
    ELSIF v_known.request <> p_request THEN
        outcome := 'mismatch';
    ELSIF v_known.is_answered THEN
        answer := v_known.answer;
        outcome := CASE WHEN answer IS NULL THEN 'again' ELSE 'kept' END;
    ELSIF v_known.expires_at >= v_now THEN
        outcome := 'running';
        wait_s := extract(epoch FROM v_known.expires_at - v_now);
    ELSE
        outcome := 'mine';
        UPDATE answers a SET token = p_token, expires_at = v_now + p_claim
        WHERE a.user_id = p_user AND a.deployment_id = p_deployment AND a.key = p_key;
    END IF;
END $$;

-- False if another proxy has taken the request over.
CREATE FUNCTION keep_answer(
    p_user uuid, p_deployment uuid, p_key bytea, p_token uuid, p_answer bytea, p_life interval
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE answers SET is_answered = true, answer = p_answer, expires_at = utc_now() + p_life
    WHERE user_id = p_user AND deployment_id = p_deployment AND key = p_key AND token = p_token;
    RETURN FOUND;
END $$;

-- The request was not answered: its unit returns, if the claim is still this one and ended before `p_ended`.
CREATE FUNCTION give_up(p_user uuid, p_deployment uuid, p_key bytea, p_token uuid, p_ended timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_month date;
BEGIN
    SELECT month INTO v_month FROM answers
    WHERE user_id = p_user AND deployment_id = p_deployment AND key = p_key AND token = p_token;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM lock_month(p_user, v_month);
    DELETE FROM answers
    WHERE user_id = p_user AND deployment_id = p_deployment AND key = p_key AND token = p_token
        AND NOT is_answered AND expires_at < p_ended;
    IF FOUND THEN
        UPDATE ledger SET used = used - 1 WHERE user_id = p_user AND month = v_month;
    END IF;
END $$;

CREATE FUNCTION forget_answers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_ended timestamptz := utc_now() - interval '1 minute';
    v_dead answers;
BEGIN
    DELETE FROM answers WHERE is_answered AND expires_at < utc_now();
    FOR v_dead IN SELECT * FROM answers WHERE NOT is_answered AND expires_at < v_ended ORDER BY user_id, month LOOP
        PERFORM give_up(v_dead.user_id, v_dead.deployment_id, v_dead.key, v_dead.token, v_ended);
    END LOOP;
END $$;
