-- Dashboards read the past from here: one row a figure, of every sealed day and issued report.
--
-- To parse a year of sealed days takes seconds, so each is taken apart once, when it is sealed, in
-- the same transaction. The rows say nothing that a sealed body does not say, and go with it when it
-- is purged. A body that can't be read (a new kind of fact) never keeps a day from being sealed: it
-- leaves a row that says so.
--
-- A ratio comes with the parts that add up over days: sum(numerator) / sum(denominator), never a
-- mean of values. Where only bounds are known numerator is the lower one and upper the other. What
-- is missing has no value and says why; it is never 0.

do $$
begin
    -- Roles belong to the whole server: another database's migration may be making them right now.
    begin
        if not exists (select from pg_roles where rolname = 'reporting_dashboard') then
            create role reporting_dashboard login;
        end if;
        if not exists (select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
                       where r.rolname = 'reporting_dashboard' and s.setdatabase = 0) then
            alter role reporting_dashboard set default_transaction_read_only = on;
            alter role reporting_dashboard set statement_timeout = '30s';
        end if;
    exception when duplicate_object or unique_violation then
        null;
    end;
    if exists (select from pg_roles where rolname = 'reporting_dashboard'
               and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)) then
        alter role reporting_dashboard nosuperuser nocreaterole nocreatedb nobypassrls noreplication;
    end if;
end $$;

create schema dashboard;
comment on schema dashboard is 'for dashboards: views over what is sealed and issued';

create table dashboard.day_row (
    day         date not null,
    revision    integer not null,
    figure      text not null,
    dimension   text not null,
    label       text not null,
    title       text not null,
    unit        text not null,
    numerator   numeric,
    upper       numeric,
    denominator numeric,
    value       numeric,
    missing     text,
    detail      text,
    check ((value is null) = (missing is not null)),
    foreign key (day, revision) references reporting.sealed_day on delete cascade
);
create index day_row_figure on dashboard.day_row (figure, dimension, day);
create index day_row_day on dashboard.day_row (day, revision);

create table dashboard.day_head (
    day      date not null,
    revision integer not null,
    session  boolean not null,
    flash    boolean not null,
    problem  text,
    primary key (day, revision),
    foreign key (day, revision) references reporting.sealed_day on delete cascade
);

create table dashboard.incident_row (
    day             date not null,
    revision        integer not null,
    source          text not null,
    id              text not null,
    priority        text not null,
    alert           text not null,
    target          text not null,
    opened_at       timestamptz not null,
    acknowledged_at timestamptz,
    resolved_at     timestamptz,
    level           integer not null,
    false_positive  boolean,
    foreign key (day, revision) references reporting.sealed_day on delete cascade
);
create index incident_row_day on dashboard.incident_row (day, revision);

create table dashboard.report_head (
    kind     text not null,
    period   text not null,
    revision integer not null,
    status   text not null,
    verdict  text not null,
    first    date,
    last     date,
    gaps     integer,
    problem  text,
    primary key (kind, period, revision),
    foreign key (kind, period, revision) references reporting.issued_report on delete cascade
);

create table dashboard.report_row (
    kind       text not null,
    period     text not null,
    revision   integer not null,
    position   integer not null,
    section    text not null,
    figure     text not null,
    title      text not null,
    unit       text not null,
    value      numeric,
    upper      numeric,
    words      text,
    missing    text,
    detail     text,
    comparator text,
    target     numeric,
    target_unit text,
    verdict    text,
    primary key (kind, period, revision, position),
    foreign key (kind, period, revision) references reporting.issued_report on delete cascade
);

-- ---- a sealed day, taken apart -----------------------------------------------------------------

-- Nothing where the JSON has none or a Missing in its place.
create function dashboard.number(given jsonb) returns numeric language sql immutable as $$
    select case when jsonb_typeof(given) in ('string', 'number') then (given #>> '{}')::numeric end
$$;

create function dashboard.ms(given jsonb, key text) returns numeric language sql immutable as $$
    select coalesce((given->>key)::numeric, 0)
$$;

create function dashboard.list(given jsonb) returns setof jsonb language sql immutable as $$
    select e from jsonb_array_elements(
        case when jsonb_typeof(given) = 'array' then given else '[]'::jsonb end) as e
$$;

create function dashboard.share(ratio jsonb) returns numeric language sql immutable as $$
    select (ratio->>'numerator')::numeric / nullif((ratio->>'denominator')::numeric, 0)
$$;

create function dashboard.moment(given jsonb, key text) returns timestamptz language sql immutable
as $$ select to_timestamp((given->>key)::numeric / 1000) $$;

create type dashboard.figure_of as (
    figure text, dimension text, label text, title text, unit text,
    numerator numeric, upper numeric, denominator numeric, value numeric,
    missing text, detail text
);

create function dashboard.figure_of(
    figure text, value numeric, unit text, dimension text default '', label text default '',
    title text default '', numerator numeric default null, upper numeric default null,
    denominator numeric default null, missing text default null, detail text default null
) returns dashboard.figure_of language sql immutable as $$
    select row(figure, dimension,
               case when dimension <> '' and label = '' then 'none' else label end,
               coalesce(nullif(title, ''), case when dimension <> '' and label = '' then 'none'
                                                else label end),
               unit, numerator, upper, denominator, value,
               case when value is null then coalesce(missing, 'no data') end,
               case when value is null then coalesce(detail, '') end)::dashboard.figure_of
$$;

-- A measure that is missing as a whole: one row, for the figure that a reader would look for.
create function dashboard.absent(figure text, unit text, fact jsonb)
returns setof dashboard.figure_of language sql immutable as $$
    select dashboard.figure_of(figure, null, unit, missing => fact->>'why', detail => fact->>'detail')
    where fact->>'kind' = 'missing'
$$;

-- As reporting/measures/pnl.py adds it up: cash and value at the session's rates, in base currency.
-- A session with a position that has no mark has no result.
create function dashboard.pnl_of(fact jsonb) returns setof dashboard.figure_of
language sql immutable as $$
with rate as (
    select r->>'currency' as currency, dashboard.number(r->'open') as open,
           dashboard.number(r->'close') as close
    from dashboard.list(fact->'fx') r
),
cell as (
    select c->>'strategy' as strategy, c->>'agent' as agent, c->>'instrument' as instrument,
           c->>'currency' as currency, (c->>'fills')::integer as fills,
           dashboard.number(c->'cash_open') + coalesce(dashboard.number(c->'value_open'), 0) as before,
           dashboard.number(c->'cash_close') + coalesce(dashboard.number(c->'value_close'), 0) as after,
           dashboard.number(c->'realised') as realised, dashboard.number(c->'fees') as fees,
           dashboard.number(c->'value_open') is null
               or dashboard.number(c->'value_close') is null as unmarked
    from dashboard.list(fact->'cells') c
),
valued as (
    select cell.*, rate.close, coalesce(rate.open, rate.close) as open,
           rate.close is null or (rate.open is null and before <> 0) as unrated,
           instrument in (select instrument from cell where unmarked) as without_mark
    from cell left join rate using (currency)
),
total as (
    select case when grouping(strategy) = 0 then 'strategy' when grouping(agent) = 0 then 'agent'
                else '' end as dimension,
           coalesce(case when grouping(strategy) = 0 then strategy
                         when grouping(agent) = 0 then agent end, '') as label,
           sum(after * close - before * open) as net,
           sum((after - before) * close + fees * close) as gross,
           sum(realised * close) as realised, sum(fees * close) as fees,
           sum(before * (close - open)) as fx, sum(fills) as fills,
           case when bool_or(without_mark) then 'no mark' when bool_or(unrated) then 'no data' end
               as missing,
           case when bool_or(without_mark) then 'no mark of '
                    || string_agg(distinct instrument, ', ') filter (where without_mark)
                when bool_or(unrated) then 'no rate of '
                    || string_agg(distinct currency, ', ') filter (where unrated) end as detail
    from valued group by grouping sets ((), (strategy), (agent))
)
select dashboard.figure_of('pnl.' || f.figure, case when missing is null then coalesce(f.value, 0) end,
                           fact->>'base', dimension, label, missing => missing, detail => detail)
from total, lateral (values ('net', net), ('gross', gross), ('realised', realised), ('fees', fees),
                            ('fx', fx)) f (figure, value)
where fact->>'kind' is null
union all
select dashboard.figure_of('pnl.fills', coalesce(fills, 0), 'fills', dimension, label)
from total where fact->>'kind' is null
union all
select dashboard.figure_of('pnl.positions', count(*), 'positions')
from dashboard.list(fact->'marks') having fact->>'kind' is null
union all
select dashboard.absent('pnl.net', '', fact)
$$;

create function dashboard.execution_of(slippage jsonb, fill_rate jsonb)
returns setof dashboard.figure_of language sql immutable as $$
with cell as (
    select c->>'strategy' as strategy, c->>'agent' as agent, c->>'currency' as currency,
           (c->>'fills')::integer as fills, (c->>'fills_covered')::integer as covered,
           dashboard.number(c->'cost') as cost, dashboard.number(c->'notional') as notional,
           dashboard.number(c->'arrival_notional') as arrival
    from dashboard.list(slippage->'cells') c
),
-- Costs of two currencies do not add up, so the unit of a notional is part of what it is of.
cost as (
    select case when grouping(strategy) = 0 then 'strategy' when grouping(agent) = 0 then 'agent'
                else '' end as dimension,
           coalesce(case when grouping(strategy) = 0 then strategy
                         when grouping(agent) = 0 then agent end, '') as label,
           currency, sum(cost) as cost, sum(arrival) as arrival, sum(notional) as notional
    from cell group by grouping sets ((currency), (currency, strategy), (currency, agent))
),
orders as (
    select o->>'strategy' as strategy, o->>'agent' as agent, o->>'reject_reason' as reason,
           o->>'symbol' as symbol, (o->>'orders')::integer as orders,
           (o->>'orders_full')::integer as whole, (o->>'orders_any')::integer as partly,
           dashboard.number(o->'ordered') as ordered, dashboard.number(o->'filled') as filled
    from dashboard.list(fill_rate->'cells') o
),
done as (
    select case when grouping(strategy) = 0 then 'strategy' when grouping(agent) = 0 then 'agent'
                else '' end as dimension,
           coalesce(case when grouping(strategy) = 0 then strategy
                         when grouping(agent) = 0 then agent end, '') as label,
           sum(orders) as orders, sum(whole) as whole, sum(partly) as partly
    from orders where reason = '' group by grouping sets ((), (strategy), (agent))
)
select dashboard.figure_of('slippage.arrival', cost / nullif(arrival, 0) * 10000,
                           'bps of ' || currency, dimension, label, numerator => cost * 10000,
                           denominator => arrival, detail => 'no fill has an arrival price')
from cost
union all
select dashboard.figure_of('slippage.notional', notional, currency, dimension, label) from cost
union all
select dashboard.figure_of('slippage.coverage', sum(covered)::numeric / nullif(sum(fills), 0), 'share',
                           numerator => sum(covered), denominator => sum(fills))
from cell having count(*) > 0
union all
select dashboard.figure_of('fill_rate.' || f.figure, f.part / nullif(orders, 0)::numeric, 'share',
                           dimension, label, numerator => f.part, denominator => orders,
                           missing => 'no orders')
from done, lateral (values ('full', whole), ('any', partly)) f (figure, part)
where fill_rate->>'kind' is null
union all
select dashboard.figure_of('fill_rate.orders', coalesce(orders, 0), 'orders', dimension, label)
from done where fill_rate->>'kind' is null
union all
select dashboard.figure_of('fill_rate.quantity', sum(filled) / nullif(sum(ordered), 0), 'share',
                           'instrument', symbol, numerator => sum(filled),
                           denominator => sum(ordered), missing => 'no orders')
from orders where reason = '' group by symbol
union all
select dashboard.figure_of('fill_rate.rejected', coalesce(sum(orders), 0), 'orders',
                           case when grouping(reason) = 0 then 'reason' else '' end,
                           case when grouping(reason) = 0 then reason else '' end)
from orders where reason <> '' group by grouping sets ((), (reason))
having fill_rate->>'kind' is null
union all
select dashboard.figure_of('fill_rate.working', dashboard.number(fill_rate->'working'), 'orders')
where fill_rate->>'kind' is null
union all
select dashboard.absent('slippage.arrival', 'bps', slippage)
union all
select dashboard.absent('fill_rate.full', 'share', fill_rate)
$$;

-- As reporting/measures/uptime.py bounds it: outside of planned maintenance, by the policy for time
-- without data. A day without the fact has its length as time in which all of it is unknown.
create function dashboard.uptime_of(fact jsonb, day_ms numeric) returns setof dashboard.figure_of
language sql immutable as $$
with target as (
    select t->>'id' as id, t->>'title' as title, t->>'no_data' as policy,
           dashboard.ms(t, 'window_ms') as whole, dashboard.ms(t, 'up_ms') as up, dashboard.ms(t, 'down_ms') as down,
           dashboard.ms(t, 'window_ms') - dashboard.ms(t, 'up_ms') - dashboard.ms(t, 'down_ms') - dashboard.ms(t->'planned', 'unknown_ms')
               as unknown,
           dashboard.ms(t, 'doubtful_up_ms') as doubtful_up, dashboard.ms(t, 'doubtful_down_ms') as doubtful_down,
           t->'planned' as planned
    from dashboard.list(fact->'targets') t
),
bound as (
    select id, title, unknown, down - dashboard.ms(planned, 'down_ms') as down,
           up - dashboard.ms(planned, 'up_ms') - (doubtful_up - dashboard.ms(planned, 'doubtful_up_ms')) as low,
           up - dashboard.ms(planned, 'up_ms') + doubtful_down - dashboard.ms(planned, 'doubtful_down_ms')
               + case when policy = 'flag' then unknown else 0 end as high,
           whole - dashboard.ms(planned, 'window_ms') - case when policy = 'exclude' then unknown else 0 end
               as whole
    from target
)
select dashboard.figure_of('uptime.available', low / nullif(whole, 0), 'share', 'target', id, title,
                           numerator => low, upper => high, denominator => whole,
                           detail => 'no time to judge')
from bound
union all
select dashboard.figure_of('uptime.' || f.figure, f.ms / 1000, 's', 'target', id, title)
from bound, lateral (values ('down', down), ('unknown', unknown)) f (figure, ms)
union all
select dashboard.figure_of('uptime.available', null, 'share', numerator => 0, upper => day_ms,
                           denominator => day_ms, missing => fact->>'why', detail => fact->>'detail')
where fact->>'kind' = 'missing'
$$;

-- What was measured of each objective; time without data is beside it and in none of it.
create function dashboard.levels_of(fact jsonb) returns setof dashboard.figure_of
language sql immutable as $$
with level as (
    select l->>'id' as id, l->>'title' as title, l, l->'values' as stats, l->'missing' as missing,
           case when jsonb_typeof(l->'missing') = 'object' then null
                when l->>'budgeting' <> 'occurrences' and jsonb_typeof(l->'slices') = 'object' then
                    case l->>'budgeting' when 'ratio_timeslices' then dashboard.number(l->'slices'->'share_sum')
                                         else dashboard.number(l->'slices'->'good') end
                when l->>'kind' = 'counts' then dashboard.number(l->'events'->'good')
                else dashboard.number(l->'time'->'share_ms') end as good,
           case when l->>'budgeting' <> 'occurrences' and jsonb_typeof(l->'slices') = 'object' then
                    dashboard.ms(l->'slices', 'good') + dashboard.ms(l->'slices', 'bad')
                when l->>'kind' = 'counts' then dashboard.number(l->'events'->'total')
                else dashboard.ms(l->'time', 'good_ms') + dashboard.ms(l->'time', 'bad_ms') end as known
    from dashboard.list(fact->'levels') l
),
-- The upper edge of the bucket that holds the 95th percentile, in the unit of the buckets.
bucket as (
    select id, title, ordinal, bound,
           sum(count) over (partition by id order by ordinal) as reached, count,
           sum(count) over (partition by id) as total
    from level, lateral (
        select ordinal, l->'histogram'->'bounds'->>(ordinal::integer - 1) as bound,
               greatest(c::numeric, 0) as count
        from jsonb_array_elements_text(
            case jsonb_typeof(l->'histogram') when 'object' then l->'histogram'->'counts'
                                              else '[]' end) with ordinality as x (c, ordinal)
    ) b
),
tail as (
    select distinct on (id) id, title, bound from bucket
    where total > 0 and count > 0 and reached >= 0.95 * total order by id, ordinal
)
select dashboard.figure_of('level.good', good / nullif(known, 0), 'share', 'objective', id, title,
                           numerator => good, denominator => known,
                           missing => missing->>'why',
                           detail => coalesce(missing->>'detail', 'no traffic'))
from level
union all
select dashboard.figure_of('level.unknown', dashboard.ms(l, 'unknown_ms') / 1000, 's', 'objective',
                           id, title, numerator => dashboard.ms(l, 'unknown_ms'),
                           denominator => dashboard.ms(l, 'window_ms'))
from level
union all
select dashboard.figure_of('level.mean', dashboard.ms(stats, 'weighted_sum')
                               / nullif(dashboard.ms(stats, 'weight_ms'), 0), '', 'objective', id,
                           title, numerator => dashboard.ms(stats, 'weighted_sum'),
                           denominator => dashboard.ms(stats, 'weight_ms'))
from level where jsonb_typeof(stats) = 'object'
union all
select dashboard.figure_of('level.highest', dashboard.number(stats->'highest'), '', 'objective', id,
                           title)
from level where jsonb_typeof(stats) = 'object'
union all
select dashboard.figure_of('level.p95', case when bound <> '+Inf' then bound::numeric end, 's',
                           'objective', id, title, missing => 'beyond the last bucket')
from tail
union all
select dashboard.figure_of('level.events', dashboard.number(l->'events'->'total'), 'events',
                           'objective', id, title)
from level where jsonb_typeof(l->'events') = 'object'
union all
select dashboard.absent('level.good', 'share', fact)
$$;

create function dashboard.operations_of(alerts jsonb, incidents jsonb)
returns setof dashboard.figure_of language sql immutable as $$
with alert as (
    select a->>'id' as id, a->>'title' as title, a->>'severity' as severity,
           dashboard.ms(a, 'begun') as begun, dashboard.ms(a, 'firing_ms') as firing
    from dashboard.list(alerts->'alerts') a
),
-- In time where the latest moment of the first notification is, late where the earliest is not.
told as (
    select e->>'alert' as id,
           coalesce(dashboard.number(e->'told_by_ms') - dashboard.ms(e, 'active_ms')
                    <= 1000 * dashboard.ms(e, 'response_s'), false) as met,
           coalesce(dashboard.number(e->'told_after_ms') - dashboard.ms(e, 'active_ms')
                    > 1000 * dashboard.ms(e, 'response_s'), false) as missed
    from dashboard.list(alerts->'episodes') e where (e->>'begun')::boolean
),
opened as (
    select i->>'priority' as priority,
           dashboard.number(i->'acknowledged_ms') - dashboard.ms(i, 'opened_ms') as answered,
           dashboard.number(i->'resolved_ms') - dashboard.ms(i, 'opened_ms') as resolved
    from dashboard.list(incidents->'incidents') i
    where dashboard.ms(i, 'opened_ms') >= dashboard.ms(incidents, 'start_ms')
)
select dashboard.figure_of('alerts.fired', begun, 'alerts', 'alert', id, title) from alert
union all
select dashboard.figure_of('alerts.fired', sum(begun), 'alerts', 'severity', severity)
from alert group by severity
union all
select dashboard.figure_of('alerts.firing', firing / 1000, 's', 'alert', id, title) from alert
union all
select dashboard.figure_of('alerts.in_time', count(*) filter (where met) / count(*)::numeric, 'share',
                           'alert', id, title, numerator => count(*) filter (where met),
                           upper => count(*) filter (where met or not missed),
                           denominator => count(*))
from told join alert using (id) group by id, title
union all
select dashboard.figure_of('incidents.opened', count(*), 'incidents') from opened
having incidents->>'kind' is null
union all
select dashboard.figure_of('incidents.opened', count(opened), 'incidents', 'priority', p->>'id')
from dashboard.list(incidents->'targets') p left join opened on opened.priority = p->>'id'
group by p->>'id'
union all
select dashboard.absent('alerts.fired', 'alerts', alerts)
union all
select dashboard.absent('incidents.opened', 'incidents', incidents)
$$;

create function dashboard.risk_of(fact jsonb) returns setof dashboard.figure_of
language sql immutable as $$
with close as (
    select d, d->>'base' as base, d->'unestimated' as unestimated
    from (select fact->'days'->-1 as d) x where d is not null
)
select dashboard.figure_of('var.' || f.figure, dashboard.number(l->f.figure), base, 'level',
                           l->>'level')
from close, dashboard.list(d->'levels') l, (values ('var'), ('es')) f (figure)
union all
select dashboard.figure_of('var.' || f.figure, null, base, 'level', '0.99',
                           missing => coalesce(unestimated->>'why', 'not measured'),
                           detail => unestimated->>'detail')
from close, (values ('var'), ('es')) f (figure) where jsonb_array_length(d->'levels') = 0
union all
select dashboard.figure_of('var.' || f.figure, dashboard.number(d->f.figure), base,
                           missing => d->f.figure->>'why', detail => d->f.figure->>'detail')
from close, (values ('gross'), ('net'), ('clean')) f (figure)
union all
select dashboard.figure_of('var.observations', dashboard.number(d->'observations'), 'returns')
from close
union all
select dashboard.figure_of('var.left_out', jsonb_array_length(d->'left_out'), 'positions') from close
union all
select dashboard.figure_of('var.' || f.figure, dashboard.number(s->f.field), base, s->>'kind',
                           s->>'name', s->>'label')
from close, dashboard.list(d->'shares') s,
     (values ('part', 'part_var'), ('exposure', 'exposure'), ('exposure_gross', 'gross'))
         f (figure, field)
union all
select dashboard.absent('var.var', '', fact)
$$;

create function dashboard.checks_of(reconciliation jsonb, marks jsonb, findings jsonb)
returns setof dashboard.figure_of language sql immutable as $$
select dashboard.figure_of('reconciliation.matched', sum(agreed) / nullif(sum(compared), 0), 'share',
                           'kind', kind, numerator => sum(agreed), denominator => sum(compared))
from (select s->>'kind' as kind, dashboard.ms(s, 'agreed') as agreed,
             dashboard.ms(s, 'compared') as compared
      from dashboard.list(reconciliation->'days'->-1->'statements') s) x group by kind
union all
select dashboard.figure_of('reconciliation.breaks',
                           jsonb_array_length(reconciliation->'days'->-1->'breaks'), 'breaks')
where reconciliation->>'kind' is null
union all
select dashboard.figure_of('marks.state', count(*), 'marks', 'state', m->>'state')
from dashboard.list(marks->'days'->-1->'marks') m group by m->>'state'
union all
select dashboard.figure_of('findings', coalesce(sum(dashboard.ms(f, 'count')), 0), 'findings',
                           'severity', severity)
from (values ('error'), ('warning'), ('note')) s (severity)
     left join dashboard.list(findings) f on f->>'severity' = severity
group by severity
union all
select dashboard.absent('reconciliation.breaks', 'breaks', reconciliation)
$$;

create function dashboard.take_day(day date, revision integer, given bytea) returns void
language plpgsql set search_path = pg_catalog as $$
#variable_conflict use_variable
declare
    body jsonb;
    facts jsonb;
    problem text;
begin
    if octet_length(given) = 0 then  -- purged
        return;
    end if;
    -- A seal is never stopped from here: what a restored backup left behind goes first.
    delete from dashboard.day_row d where (d.day, d.revision) = (take_day.day, take_day.revision);
    delete from dashboard.incident_row d where (d.day, d.revision) = (take_day.day, take_day.revision);
    delete from dashboard.day_head d where (d.day, d.revision) = (take_day.day, take_day.revision);
    begin
        body := convert_from(given, 'UTF8')::jsonb;
        facts := body->'facts';
        insert into dashboard.day_head
            values (day, revision, (body->>'session')::boolean,
                    coalesce((body->>'flash')::boolean, false), null);
        insert into dashboard.day_row
        select day, revision, (f).* from (
            select dashboard.pnl_of(facts->'pnl')
            union all select dashboard.execution_of(facts->'slippage', facts->'fill_rate')
            union all select dashboard.uptime_of(facts->'uptime', 1000 * extract(
                epoch from (body->'window'->>'end')::timestamptz
                         - (body->'window'->>'start')::timestamptz))
            union all select dashboard.levels_of(facts->'service_levels')
            union all select dashboard.operations_of(facts->'alerts', facts->'incidents')
            union all select dashboard.risk_of(facts->'var')
            union all select dashboard.checks_of(facts->'reconciliation', facts->'marks',
                                                 body->'findings')
        ) x (f);
        insert into dashboard.incident_row
        select day, revision, i->>'source', i->>'id', i->>'priority', i->>'alert', i->>'target',
               dashboard.moment(i, 'opened_ms'), dashboard.moment(i, 'acknowledged_ms'), dashboard.moment(i, 'resolved_ms'),
               case when i->>'level_3_ms' is not null then 3 when i->>'level_2_ms' is not null then 2
                    when i->>'level_1_ms' is not null then 1 else 0 end,
               (i->>'false_positive')::boolean
        from dashboard.list(facts->'incidents'->'incidents') i;
    exception when others then
        problem := sqlerrm;
        insert into dashboard.day_head
            values (day, revision, false, false, problem);
        raise warning 'dashboard: day % r% can''t be read: %', day, revision, problem;
    end;
end $$;

-- ---- an issued report, taken apart -------------------------------------------------------------

create function dashboard.take_report(kind text, period text, revision integer, given bytea)
returns void language plpgsql set search_path = pg_catalog as $$
#variable_conflict use_variable
declare
    body jsonb;
begin
    if octet_length(given) = 0 then  -- purged
        return;
    end if;
    delete from dashboard.report_row r
        where (r.kind, r.period, r.revision) = (take_report.kind, take_report.period, take_report.revision);
    delete from dashboard.report_head r
        where (r.kind, r.period, r.revision) = (take_report.kind, take_report.period, take_report.revision);
    begin
        body := convert_from(given, 'UTF8')::jsonb;
        insert into dashboard.report_head
            values (kind, period, revision, body->>'status', coalesce(body->>'verdict', ''),
                    (body->'period'->>'first')::date, (body->'period'->>'last')::date,
                    jsonb_array_length(body->'gaps'), null);
        insert into dashboard.report_row
        select kind, period, revision, row_number() over (order by s.n, f.n), s.section->>'id',
               figure->>'id', figure->>'label',
               case v->>'kind' when 'money' then v->>'currency' when 'ratio' then 'share'
                               when 'band' then 'share' when 'bps' then 'bps' when 'duration' then 's'
                               else coalesce(v->>'unit', '') end,
               case v->>'kind'
                   when 'money' then dashboard.number(v->'amount')
                   when 'ratio' then dashboard.share(v)
                   when 'band' then dashboard.share(v->'low')
                   when 'bps' then 10000 * dashboard.number(v->'cost')
                                   / nullif(dashboard.number(v->'notional'), 0)
                   when 'duration' then dashboard.number(v->'ms') / 1000
                   when 'missing' then null when 'text' then null when 'moment' then null
                   else dashboard.number(v->'value') end,
               case when v->>'kind' = 'band' then dashboard.share(v->'high') end,
               coalesce(v->>'text', v->>'at'), v->>'why', v->>'detail',
               figure->'target'->>'comparator', dashboard.number(figure->'target'->'value'),
               figure->'target'->>'unit', figure->>'verdict'
        from jsonb_array_elements(body->'sections') with ordinality s (section, n),
             lateral jsonb_array_elements(section->'figures') with ordinality f (figure, n),
             lateral (select figure->'value') x (v);
    exception when others then
        insert into dashboard.report_head
            values (kind, period, revision, 'unreadable', '', null, null, null, sqlerrm);
        raise warning 'dashboard: report %/%/r% can''t be read: %', kind, period, revision, sqlerrm;
    end;
end $$;

-- ---- kept up to date ---------------------------------------------------------------------------

create function dashboard.follow() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if tg_table_name = 'sealed_day' then
        if tg_op = 'INSERT' then
            perform dashboard.take_day(new.day, new.revision, new.body);
        else  -- a purge: what was taken from the body goes with it
            delete from dashboard.day_row d where (d.day, d.revision) = (new.day, new.revision);
            delete from dashboard.incident_row d where (d.day, d.revision) = (new.day, new.revision);
            delete from dashboard.day_head d where (d.day, d.revision) = (new.day, new.revision);
        end if;
    elsif tg_op = 'INSERT' then
        perform dashboard.take_report(new.kind, new.period, new.revision, new.body);
    else
        delete from dashboard.report_row r
            where (r.kind, r.period, r.revision) = (new.kind, new.period, new.revision);
        delete from dashboard.report_head r
            where (r.kind, r.period, r.revision) = (new.kind, new.period, new.revision);
    end if;
    return null;
end $$;

-- ---- what a dashboard reads --------------------------------------------------------------------

-- A day stands at noon UTC, which is the same date in all zones but the farthest.
create view dashboard.day as
    select distinct on (d.day) d.day, (d.day + time '12:00') at time zone 'UTC' as at, d.revision,
           h.session, h.flash, d.known_at, d.sealed_at, d.reason, h.problem
    from reporting.sealed_day d left join dashboard.day_head h using (day, revision)
    order by d.day, d.revision desc;
comment on view dashboard.day is 'the newest revision of every sealed day';

create view dashboard.figure as
    select day, (day + time '12:00') at time zone 'UTC' as at, revision, r.figure, r.dimension,
           r.label, r.title, r.unit, r.numerator, r.upper, r.denominator, r.value, r.missing, r.detail
    from dashboard.day_row r
    join (select day, max(revision) as revision from reporting.sealed_day group by day) newest
        using (day, revision);
comment on view dashboard.figure is
    'figures of the newest revision of every day; ratios: sum(numerator) / sum(denominator)';

create view dashboard.incident as
    select distinct on (i.source, i.id) i.source, i.id, i.priority, i.alert, i.target, i.opened_at,
           i.acknowledged_at, i.resolved_at, i.level, i.false_positive, day as as_of
    from dashboard.incident_row i
    join (select day, max(revision) as revision from reporting.sealed_day group by day) newest
        using (day, revision)
    order by i.source, i.id, day desc;
comment on view dashboard.incident is 'every incident as the last sealed day knows it';

-- Each session's result beside the VaR of the session before it, as first told of that close once it
-- was final: what was known when the session began. Losses are before fees (Basel MAR32).
create view dashboard.backtest as
with told as (
    select distinct on (r.day) r.day, r.revision
    from dashboard.day_row r join dashboard.day_head h using (day, revision)
    where r.figure = 'var.var' and r.value is not null and not h.flash
    order by r.day, r.revision
),
forecast as (
    select day, max(value) filter (where label = '0.95') as var_95,
           max(value) filter (where label = '0.99') as var_99
    from told join dashboard.day_row using (day, revision)
    where figure = 'var.var' group by day
),
result as (
    select d.day, d.at,
           max(f.value) filter (where f.figure = 'pnl.net') as net,
           max(f.value) filter (where f.figure = 'pnl.net')
               + max(f.value) filter (where f.figure = 'pnl.fees') as actual,
           max(f.value) filter (where f.figure = 'var.clean') as clean,
           max(f.unit) filter (where f.figure = 'pnl.net') as unit,
           lag(d.day) over (order by d.day) as before
    from dashboard.day d join dashboard.day_row f using (day, revision)
    where d.session and f.figure in ('pnl.net', 'pnl.fees', 'var.clean') and f.dimension = ''
    group by d.day, d.at
)
select result.day, result.at, result.unit, net, actual, clean, var_95, var_99,
       -actual > var_95 as exception_95, -actual > var_99 as exception_99,
       -clean > var_99 as clean_exception_99
from result left join forecast on forecast.day = result.before;
comment on view dashboard.backtest is 'sessions with their result and the VaR they began with';

-- The running sum of net P&L below its highest point of the last 250 sessions, 0 before the first.
create view dashboard.drawdown as
with summed as (
    select day, at, unit, value as net,
           sum(value) over (order by day) as height,
           sum(value) over (order by day) - value as height_before
    from dashboard.figure where figure = 'pnl.net' and dimension = '' and value is not null
)
select day, at, unit, net, height,
       greatest(max(height) over last, max(height_before) over last) - height as drawdown
from summed window last as (order by day rows between 249 preceding and current row);
comment on view dashboard.drawdown is 'net P&L summed up, and how far below its peak it stands';

create view dashboard.report as
    select r.kind, r.period, r.revision, h.status, h.verdict, h.first, h.last, h.gaps, r.issued_at,
           r.reason, h.problem,
           r.revision = max(r.revision) over (partition by r.kind, r.period) as newest
    from reporting.issued_report r left join dashboard.report_head h using (kind, period, revision);
comment on view dashboard.report is 'every revision of every issued report';

create view dashboard.report_figure as
    select kind, period, revision, h.last as day,
           (h.last + time '12:00') at time zone 'UTC' as at, r.section, r.figure, r.title, r.unit,
           r.value, r.upper, r.words, r.missing, r.detail, r.comparator, r.target, r.target_unit,
           r.verdict, r.position
    from dashboard.report_row r join dashboard.report_head h using (kind, period, revision)
    join (select kind, period, max(revision) as revision from reporting.issued_report
          group by kind, period) newest using (kind, period, revision);
comment on view dashboard.report_figure is
    'headline figures of the newest revision of every report, with target and verdict';

-- ---- rights ------------------------------------------------------------------------------------

do $$
declare
    target text;
begin
    for target in
        select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'dashboard'
    loop
        execute format('alter table %s owner to reporting_owner', target);
    end loop;
    for target in
        select format('%I.%I', schemaname, viewname) from pg_views where schemaname = 'dashboard'
    loop
        execute format('alter view %s owner to reporting_owner', target);
        execute format('grant select on %s to reporting_dashboard', target);
    end loop;
    for target in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'dashboard'::regnamespace
    loop
        execute format('alter function %s owner to reporting_owner', target);
        execute format('revoke all on function %s from public', target);
    end loop;
end $$;
alter type dashboard.figure_of owner to reporting_owner;
grant usage on schema dashboard to reporting_owner, reporting_dashboard;

create trigger followed after insert on reporting.sealed_day
    for each row execute function dashboard.follow();
create trigger followed_away after update on reporting.sealed_day
    for each row when (octet_length(new.body) = 0) execute function dashboard.follow();
create trigger followed after insert on reporting.issued_report
    for each row execute function dashboard.follow();
create trigger followed_away after update on reporting.issued_report
    for each row when (octet_length(new.body) = 0) execute function dashboard.follow();

select dashboard.take_day(day, revision, body) from reporting.sealed_day order by day, revision;
select dashboard.take_report(kind, period, revision, body) from reporting.issued_report
order by kind, period, revision;
