-- name: fill_rate_cells
-- Order chains whose last order became final in the business day, as known at :known_at. A chain
-- of cancel/replace is one order: its quantity is the last order's, its fills are those of all.
with recursive candidate as (
    select distinct order_id from ledger.orders
    where done_at >= :start and done_at < :end and recorded_at <= :known_at
),
version as (
    select distinct on (o.order_id) o.*
    from ledger.orders o join candidate using (order_id)
    where o.recorded_at <= :known_at
    order by o.order_id, o.recorded_at desc
),
last_order as (
    select * from version
    where status in ('filled', 'cancelled', 'rejected', 'expired')
      and done_at >= :start and done_at < :end
),
link as (
    select distinct order_id, replaces from ledger.orders
    where recorded_at <= :known_at and replaces is not null
),
member(chain, order_id) as (
    select order_id, order_id from last_order
    union all
    select m.chain, l.replaces from member m join link l on l.order_id = m.order_id
),
filled as (
    select m.chain, sum(f.quantity) as quantity
    from member m join ledger.fills f on f.order_id = m.order_id
    where f.recorded_at <= :known_at and f.executed_at < :end
      and f.kind <> 'bust'
      and not exists (
          select from ledger.fills later
          where later.refers_to is not null
            and later.refers_to = f.fill_id
            and later.recorded_at <= :known_at
      )
    group by m.chain
)
select
    o.strategy, o.agent, o.account_id, o.instrument_id,
    coalesce(case when o.status = 'rejected' then coalesce(o.reject_reason, 'no reason given') end, '')
        as reject_reason,
    count(*) as orders,
    count(*) filter (where coalesce(f.quantity, 0) >= o.quantity) as orders_full,
    count(*) filter (where coalesce(f.quantity, 0) > 0) as orders_any,
    sum(o.quantity) as ordered,
    coalesce(sum(f.quantity), 0) as filled
from last_order o left join filled f on f.chain = o.order_id
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5;

-- name: orders_working
-- Orders placed in the business day and not final at its end, as known at :known_at.
select count(*) as orders from (
    select distinct on (order_id) order_id, status, done_at
    from ledger.orders
    where placed_at >= :start and placed_at < :end and recorded_at <= :known_at
    order by order_id, recorded_at desc
) o
where o.done_at is null or o.done_at >= :end;
