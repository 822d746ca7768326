-- name: mark_history
-- One mark an instrument and local day, the day's last of the source that is highest in :sources
-- (see marks), as known at :known_at.
select distinct on (instrument_id, day)
    instrument_id, (marked_at at time zone :zone)::date as day, price, marked_at
from ledger.marks
where marked_at >= :history_start and marked_at < :end and recorded_at <= :known_at
  and price not in ('NaN', 'Infinity', '-Infinity')
order by
    instrument_id, day, array_position(cast(:sources as text[]), source),
    case when cardinality(cast(:sources as text[])) > 0 then source end,
    marked_at desc, recorded_at desc;

-- name: fx_history
-- One rate a pair and local day, the day's last, as known at :known_at.
select distinct on (base, quote, day)
    base, quote, (fixed_at at time zone :zone)::date as day, rate
from ledger.fx_rates
where fixed_at >= :history_start and fixed_at < :end and recorded_at <= :known_at
  and rate > 0 and rate < 'Infinity'
order by base, quote, day, fixed_at desc, recorded_at desc;

-- name: split_history
-- The splits in force at :known_at that took effect within the history of marks.
select
    instrument_id, ratio, effective_at,
    -- Columns that a ledger need not have.
    (to_jsonb(newest) ->> 'ratio_new')::numeric as ratio_new,
    (to_jsonb(newest) ->> 'ratio_old')::numeric as ratio_old
from (
    select distinct on (action_id) *
    from ledger.corporate_actions
    where recorded_at <= :known_at
    order by action_id, recorded_at desc
) newest
where kind = 'split' and effective_at >= :history_start and effective_at < :end
order by effective_at, action_id;
