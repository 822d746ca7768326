-- name: slippage_cells
-- Signed cost of the day's fills against the arrival price of their order chain, summed exactly.
-- Positive is cost to us: side × (price − arrival) × quantity × multiplier.
with recursive fill as (
    select f.*, i.currency, i.multiplier
    from ledger.fills f
    join (
        select distinct on (instrument_id) instrument_id, currency, multiplier
        from ledger.instruments where recorded_at <= :known_at
        order by instrument_id, recorded_at desc
    ) i using (instrument_id)
    where f.executed_at >= :start and f.executed_at < :end
      and f.recorded_at <= :known_at
      and f.kind <> 'bust'
      and not exists (
          select from ledger.fills later
          where later.refers_to is not null
            and later.refers_to = f.fill_id
            and later.recorded_at <= :known_at
      )
),
link as (
    select distinct order_id, replaces, arrival_price
    from ledger.orders where recorded_at <= :known_at
),
root(order_id, replaces, arrival_price) as (
    select l.order_id, l.replaces, l.arrival_price
    from link l where l.order_id in (select order_id from fill)
    union all
    select r.order_id, parent.replaces, parent.arrival_price
    from root r join link parent on parent.order_id = r.replaces
),
arrival as (
    select distinct on (order_id) order_id, arrival_price
    from root where replaces is null
    order by order_id, arrival_price
)
select
    f.strategy, f.agent, f.account_id, f.instrument_id, f.currency, coalesce(f.venue, '') as venue,
    count(*) as fills,
    count(a.arrival_price) as fills_covered,
    sum(f.quantity * f.price * f.multiplier) as notional,
    coalesce(sum(f.side * (f.price - a.arrival_price) * f.quantity * f.multiplier), 0) as cost,
    coalesce(sum(a.arrival_price * f.quantity * f.multiplier), 0) as arrival_notional
from fill f left join arrival a using (order_id)
group by 1, 2, 3, 4, 5, 6
order by 1, 2, 3, 4, 5, 6;
