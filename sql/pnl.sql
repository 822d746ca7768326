-- name: instruments
-- What each instrument is, as known at :known_at.
select distinct on (instrument_id)
    instrument_id, symbol, currency, multiplier, tick, lot
from ledger.instruments
where recorded_at <= :known_at
order by instrument_id, recorded_at desc;

-- name: fills
-- The fills of a business day in force at :known_at: busts and what they bust are left out, a
-- correction stands in the place of what it corrects.
select
    f.account_id, f.instrument_id, f.strategy, f.agent, f.side, f.quantity, f.price,
    f.fee, f.fee_currency,
    (extract(epoch from f.executed_at) * 1000000)::bigint as executed_us,
    f.fill_id
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end
  and f.recorded_at <= :known_at
  and f.kind <> 'bust'
  and not exists (
      select from ledger.fills later
      where later.refers_to is not null
        and later.refers_to = f.fill_id
        and later.recorded_at <= :known_at
  );

-- name: fills_control
-- Control totals of the same rows, by the source itself.
select
    count(*) as rows,
    coalesce(sum(f.quantity), 0) as quantity,
    coalesce(max(scale(f.price)), 0) as price_scale,
    coalesce(max(scale(f.quantity)), 0) as quantity_scale,
    coalesce(max(scale(f.fee)), 0) as fee_scale
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end
  and f.recorded_at <= :known_at
  and f.kind <> 'bust'
  and not exists (
      select from ledger.fills later
      where later.refers_to is not null
        and later.refers_to = f.fill_id
        and later.recorded_at <= :known_at
  );

-- name: marks
-- The last mark of every instrument before :end, as known at :known_at.
select distinct on (instrument_id)
    instrument_id, price, source, marked_at
from ledger.marks
where marked_at < :end and recorded_at <= :known_at
order by instrument_id, marked_at desc, recorded_at desc;

-- name: fx_rates
-- The last rate of every pair before :end, as known at :known_at.
select distinct on (base, quote)
    base, quote, rate, source, fixed_at
from ledger.fx_rates
where fixed_at < :end and recorded_at <= :known_at
order by base, quote, fixed_at desc, recorded_at desc;

-- name: first_late_event
-- The earliest moment of business that something recorded in (:after, :known_at] belongs to.
select min(at) as at from (
    select min(executed_at) as at from ledger.fills
    where recorded_at > :after and recorded_at <= :known_at and executed_at < :before
    union all
    select min(coalesce(done_at, placed_at)) from ledger.orders
    where recorded_at > :after and recorded_at <= :known_at
      and coalesce(done_at, placed_at) < :before
    union all
    select min(marked_at) from ledger.marks
    where recorded_at > :after and recorded_at <= :known_at and marked_at < :before
    union all
    select min(fixed_at) from ledger.fx_rates
    where recorded_at > :after and recorded_at <= :known_at and fixed_at < :before
) late;

-- name: first_activity
-- When trading began, as known at :known_at.
select least(
    (select min(executed_at) from ledger.fills where recorded_at <= :known_at),
    (select min(placed_at) from ledger.orders where recorded_at <= :known_at)
) as at;

-- name: checks
-- Contract checks on the rows of a business day: what fails is counted and listed.
select 'fill without its order' as check, count(*) as count,
       (array_agg(f.fill_id order by f.fill_id))[1 : 5] as samples
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
  and not exists (select from ledger.orders o where o.order_id = f.order_id)
union all
select 'fill of an unknown instrument', count(*), (array_agg(f.fill_id order by f.fill_id))[1 : 5]
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
  and not exists (select from ledger.instruments i where i.instrument_id = f.instrument_id)
union all
select 'fill with quantity or side out of range', count(*),
       (array_agg(f.fill_id order by f.fill_id))[1 : 5]
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
  and (f.quantity <= 0 or f.side not in (-1, 1) or f.price is null)
union all
select 'fill recorded before it was executed', count(*),
       (array_agg(f.fill_id order by f.fill_id))[1 : 5]
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
  and f.recorded_at < f.executed_at
union all
select 'fill identifier used twice', count(*), (array_agg(d.fill_id order by d.fill_id))[1 : 5]
from (
    select f.fill_id from ledger.fills f
    where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
    group by f.fill_id having count(*) > 1
) d
union all
select 'late correction or bust', count(*), (array_agg(f.fill_id order by f.fill_id))[1 : 5]
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
  and f.kind in ('correct', 'bust');
