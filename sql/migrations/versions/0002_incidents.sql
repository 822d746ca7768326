-- Incidents: append-only versions; the one recorded last holds. An import says which time it is
-- complete for: a day that none covers is not measured, however many incidents are known of it.

create table reporting.incident (
    entry           bigint generated always as identity primary key,
    source          text not null,
    id              text not null,
    recorded_at     timestamptz not null,
    priority        text not null check (priority in ('', 'P1', 'P2', 'P3', 'P4', 'P5')),
    title           text not null,
    alert           text not null,
    target          text not null,
    opened_at       timestamptz not null,
    notified_at     timestamptz,
    acknowledged_at timestamptz,
    level_1_at      timestamptz,
    level_2_at      timestamptz,
    level_3_at      timestamptz,
    resolved_at     timestamptz,
    false_positive  boolean,
    cause           text not null
);
comment on table reporting.incident is 'versions of incidents; the one recorded last holds';
create index incident_versions on reporting.incident (source, id, recorded_at desc, entry desc);

create table reporting.incident_import (
    entry        bigint generated always as identity primary key,
    source       text not null,
    imported_at  timestamptz not null,
    rows         integer not null check (rows >= 0),
    digest       text not null,
    covers_from  timestamptz not null,
    covers_until timestamptz not null,
    check (covers_from < covers_until)
);
comment on table reporting.incident_import is
    'which time is known in full; rows as read, digest is the sha256 of what was read';

do $$
declare
    target text;
begin
    foreach target in array array['reporting.incident', 'reporting.incident_import'] loop
        execute format('alter table %s owner to reporting_owner', target);
        execute format('create trigger append_only before update or delete on %s
                        for each row execute function reporting.refuse_change()', target);
        execute format('create trigger never_truncated before truncate on %s
                        for each statement execute function reporting.refuse_change()', target);
        execute format('grant select, insert on %s to reporting_app', target);
    end loop;
end $$;
