-- name: orders
-- Versions known at :known_at of orders that were placed or became final in a business day.
select
    order_id, replaces, account_id, instrument_id, strategy, agent, side, quantity,
    decision_price, arrival_price, status, reject_reason, decision_at, placed_at, done_at,
    recorded_at
from ledger.orders
where recorded_at <= :known_at
  and (placed_at >= :start and placed_at < :end or done_at >= :start and done_at < :end);

-- name: orders_by_id
-- Every version known at :known_at of named orders: those that fills or replacements refer to,
-- and those placed before the day, whose newest version the day's query can miss.
select
    order_id, replaces, account_id, instrument_id, strategy, agent, side, quantity,
    decision_price, arrival_price, status, reject_reason, decision_at, placed_at, done_at,
    recorded_at
from ledger.orders
where recorded_at <= :known_at and order_id = any(:order_ids);

-- name: working
-- Orders at work at :end, whenever in the :longest days before it they were placed, as the newest
-- version known at :known_at has them. Not one that another has replaced: a chain is one order.
-- A ledger that keeps one row an order has this from an index on (done_at); one that keeps a version
-- of every order's time at work reads what was placed in these days.
select count(distinct o.order_id) as orders
from ledger.orders o
where o.placed_at < :end and o.placed_at >= :end - make_interval(days => :longest)
  and o.recorded_at <= :known_at
  and (o.done_at is null or o.done_at >= :end)
  and not exists (
      select from ledger.orders newer
      where newer.order_id = o.order_id
        and newer.recorded_at > o.recorded_at
        and newer.recorded_at <= :known_at
  )
  and not exists (
      select from ledger.orders next
      where next.replaces = o.order_id
        and next.placed_at < :end
        and next.recorded_at <= :known_at
  );

-- name: earlier_fills
-- What named orders had filled before :start, at what cost, as known at :known_at; a row an order,
-- venue and fee currency.
select
    f.order_id, coalesce(f.venue, '') as venue, f.fee_currency,
    sum(f.quantity) as quantity, sum(f.quantity * f.price) as amount,
    coalesce(sum(f.fee), 0) as fee,
    min(f.executed_at) as first_at, max(f.executed_at) as last_at
from ledger.fills f
where f.order_id = any(:order_ids)
  and f.executed_at < :start
  and f.recorded_at <= :known_at
  and f.kind is distinct from 'bust'
  and not exists (
      select from ledger.fills later
      where later.refers_to is not null
        and later.refers_to = f.fill_id
        and later.recorded_at <= :known_at
  )
  and not exists (
      -- Of several that replace the same fill, the last one recorded is in force.
      select from ledger.fills other
      where other.refers_to is not null
        and other.refers_to = f.refers_to
        and other.recorded_at <= :known_at
        and (other.recorded_at, other.fill_id) > (f.recorded_at, f.fill_id)
  )
group by f.order_id, coalesce(f.venue, ''), f.fee_currency;
