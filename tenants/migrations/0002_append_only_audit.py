"""The audit trail is append-only for everybody: the database itself refuses to change or remove an entry.

Personal fields may be erased (never rewritten); whole workspaces may be removed by a transaction that says so
with `SET LOCAL permeter.purge = 'on'`.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION tenants_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('permeter.purge', true) = 'on' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the audit trail is append-only';
    END IF;
    IF TG_TABLE_NAME = 'tenants_auditentry' THEN
        IF (NEW.actor_name, NEW.address) = ('', '') AND NEW.salt IS NULL
           AND to_jsonb(NEW) - '{actor_name,address,salt}'::text[] = to_jsonb(OLD) - '{actor_name,address,salt}'::text[]
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE ON tenants_auditentry
    FOR EACH ROW EXECUTE FUNCTION tenants_audit_append_only();
CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR DELETE ON tenants_auditseal
    FOR EACH ROW EXECUTE FUNCTION tenants_audit_append_only();
"""

BACK = """
DROP TRIGGER audit_seal_append_only ON tenants_auditseal;
DROP TRIGGER audit_entry_append_only ON tenants_auditentry;
DROP FUNCTION tenants_audit_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACK)]
