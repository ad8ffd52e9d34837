"""The ledger's functions know what balances have beside their limit, and what few events have: what they correct,
what they were derived from, flags. What is not sent for any row is sent as an empty array.
"""

from importlib import import_module

from django.db import migrations

before = import_module("metering.migrations.0004_ledger_functions")

OPEN = """
CREATE OR REPLACE FUNCTION metering_open_batch(
    lock_numbers bigint[], tenant_ids uuid[], subject_ids uuid[], balance_ids uuid[], digests uuid[],
    OUT epochs text, OUT balances text, OUT known text
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(number) FROM unnest(lock_numbers) AS number;

    SELECT json_agg(json_build_array(epoch.kind, epoch.subject_id, epoch.version)) INTO epochs
    FROM tenants_epoch AS epoch
    WHERE epoch.tenant_id = ANY(tenant_ids) AND epoch.subject_id = ANY(subject_ids);

    SELECT json_agg(json_build_array(
        locked.id, locked.used::text, locked.held::text, locked.closed_at IS NOT NULL,
        locked.detached_at IS NOT NULL, locked.thresholds_fired, locked.period_end,
        (locked.carried + locked.burned)::text, locked.latest_at
    )) INTO balances
    FROM (
        SELECT * FROM metering_balance AS balance
        WHERE balance.id = ANY(balance_ids) AND balance.tenant_id = ANY(tenant_ids)
        ORDER BY balance.id FOR UPDATE
    ) AS locked;

    SELECT json_agg(json_build_array(
        encode(uuid_send(register.digest), 'hex'), encode(uuid_send(register.fingerprint), 'hex'), register.kind,
        register.occurred_at, register.occurred_given, register.event_ids, register.hold_id
    )) INTO known
    FROM metering_eventid AS register
    WHERE register.tenant_id = ANY(tenant_ids) AND register.digest = ANY(digests);
END
$$;
"""

WRITE = """
CREATE FUNCTION metering_write_batch(
    id_tenants uuid[], id_digests uuid[], id_fingerprints uuid[], id_kinds text[], id_occurred timestamptz[],
    id_given boolean[], id_events text[], id_holds uuid[],
    event_ids uuid[], event_tenants uuid[], event_customers uuid[], event_licenses uuid[], event_agents uuid[],
    event_paths text[], event_meters uuid[], event_clients text[], event_quantities numeric[],
    event_dimensions text[], event_occurred timestamptz[], event_recorded timestamptz[], event_kinds text[],
    event_holds uuid[], event_corrects uuid[], event_sources uuid[], event_flags text[],
    balance_ids uuid[], balance_used numeric[], balance_held numeric[], balance_fired text[],
    balance_burned numeric[], balance_latest timestamptz[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    written bigint;
BEGIN
    IF cardinality(id_digests) > 0 THEN
        INSERT INTO metering_eventid
            (tenant_id, digest, fingerprint, kind, occurred_at, occurred_given, event_ids, hold_id)
        SELECT new.tenant, new.digest, new.fingerprint, new.kind, new.occurred, new.given, new.events::uuid[], new.hold
        FROM unnest(id_tenants, id_digests, id_fingerprints, id_kinds, id_occurred, id_given, id_events, id_holds)
            AS new (tenant, digest, fingerprint, kind, occurred, given, events, hold)
        ORDER BY new.digest
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(id_digests) THEN
            RAISE unique_violation USING MESSAGE = 'somebody was quicker with one of the ids';
        END IF;
    END IF;
    IF cardinality(event_ids) > 0 THEN
        INSERT INTO metering_usageevent
            (id, tenant_id, customer_id, license_id, agent_id, agent_path, meter_id, client_id,
            quantity, dimensions, occurred_at, recorded_at, kind, hold_id, corrects, derived_from, flags)
        SELECT new.id, new.tenant, new.customer, new.license, new.agent, new.path::uuid[], new.meter, new.client,
            new.quantity, new.dimensions::jsonb, new.occurred, new.recorded, new.kind, new.hold,
            new.corrects, new.source, coalesce(new.flags, '{}')::text[]
        FROM unnest(event_ids, event_tenants, event_customers, event_licenses, event_agents, event_paths,
                event_meters, event_clients, event_quantities, event_dimensions, event_occurred, event_recorded,
                event_kinds, event_holds, event_corrects, event_sources, event_flags)
            AS new (id, tenant, customer, license, agent, path, meter, client, quantity, dimensions, occurred,
                recorded, kind, hold, corrects, source, flags);
    END IF;
    IF cardinality(balance_ids) > 0 THEN
        UPDATE metering_balance AS balance
        SET used = new.used, held = new.held, thresholds_fired = new.fired::smallint[],
            burned = balance.burned + coalesce(new.burned, 0), latest_at = coalesce(new.latest, balance.latest_at),
            updated_at = clock_timestamp()
        FROM unnest(balance_ids, balance_used, balance_held, balance_fired, balance_burned, balance_latest)
            AS new (id, used, held, fired, burned, latest)
        WHERE balance.id = new.id;
    END IF;
END
$$;
"""

DROP_WRITE = "DROP FUNCTION metering_write_batch"


class Migration(migrations.Migration):
    dependencies = [("metering", "0005_allowances")]

    operations = [
        migrations.RunSQL(OPEN, before.OPEN.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")),
        migrations.RunSQL([DROP_WRITE, WRITE], [DROP_WRITE, before.WRITE]),
    ]
