-- name: incidents
-- Incidents opened or still open in a window, each in the version known last at a moment.
select source, id, priority, title, alert, target, opened_at, notified_at, acknowledged_at,
       level_1_at, level_2_at, level_3_at, resolved_at, false_positive, cause
from (
    select distinct on (source, id) *
    from reporting.incident
    where recorded_at <= :known_at
    order by source, id, recorded_at desc, entry desc
) newest
where opened_at < :until and (opened_at >= :since or resolved_at is null or resolved_at >= :since)
order by opened_at, source, id;

-- name: incident_coverage
-- The parts of a window for which incidents are known in full.
select covers_from, covers_until
from reporting.incident_import
where imported_at <= :known_at and covers_from < :until and covers_until > :since
order by covers_from, covers_until;

-- name: newest_incidents
-- The newest version of incidents of one source, by their ids.
select distinct on (source, id)
       source, id, priority, title, alert, target, opened_at, notified_at, acknowledged_at,
       level_1_at, level_2_at, level_3_at, resolved_at, false_positive, cause
from reporting.incident
where source = :source and id = any(:ids)
order by source, id, recorded_at desc, entry desc;

-- name: first_incident_change
-- From when on days may have changed by what was recorded between two moments.
select min(at) as at
from (
    select opened_at as at from reporting.incident  -- of every version: it may have moved
    where (source, id) in (
        select source, id from reporting.incident
        where recorded_at > :after and recorded_at <= :until)
    union all
    select covers_from from reporting.incident_import
    where imported_at > :after and imported_at <= :until
) changed;

-- name: add_incident!
-- Append a version of an incident.
insert into reporting.incident
    (source, id, recorded_at, priority, title, alert, target, opened_at, notified_at,
     acknowledged_at, level_1_at, level_2_at, level_3_at, resolved_at, false_positive, cause)
values
    (:source, :id, :recorded_at, :priority, :title, :alert, :target, :opened_at, :notified_at,
     :acknowledged_at, :level_1_at, :level_2_at, :level_3_at, :resolved_at, :false_positive, :cause);

-- name: add_incident_import!
-- Say which time is known in full from now on.
insert into reporting.incident_import
    (source, imported_at, rows, digest, covers_from, covers_until)
values (:source, :imported_at, :rows, :digest, :covers_from, :covers_until);
