-- name: instruments
-- What each instrument is, as known at :known_at. A version without a symbol or a currency, or with
-- a number that is none, is of a row beside the newest sound one. NaN is above every number.
select distinct on (instrument_id, is_number)
    instrument_id, symbol, currency, multiplier, tick, lot, recorded_at, is_number
from (
    select *, coalesce(
        abs(multiplier) < 1e30 and scale(multiplier) <= 30
        and abs(tick) < 1e30 and scale(tick) <= 30
        and abs(lot) < 1e30 and scale(lot) <= 30
        and instrument_id <> '' and symbol is not null and currency ~ '^[A-Z]{3}$', false
    ) as is_number
    from ledger.instruments
    where recorded_at <= :known_at
) known
order by instrument_id, is_number desc, recorded_at desc;

-- name: fills
-- The fills of a business day in force at :known_at: busts and what they bust are left out, a
-- correction stands in the place of what it corrects.
select
    f.account_id, f.instrument_id, f.strategy, f.agent, f.side, f.quantity, f.price,
    f.fee, f.fee_currency,
    f.executed_at,
    f.fill_id, f.order_id, coalesce(f.venue, '') as venue
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end
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
  );

-- name: fills_control
-- Control totals of the same rows by the source itself, and checks on all rows of the day: what all
-- fills come to, less the few that are not in force. To ask for everything of each row of ten
-- million takes the server three times as long.
with odd as materialized (
    select f.fill_id, f.quantity, f.kind, f.refers_to, f.recorded_at, f.executed_at
    from ledger.fills f
    where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
      and (f.kind is distinct from 'new' or f.refers_to is not null
           or f.recorded_at < f.executed_at)
),
replacing as materialized (
    -- How many replace each fill, and which of them is in force: the last one recorded.
    select refers_to, count(*) as rivals,
           (array_agg(fill_id order by recorded_at desc, fill_id desc))[1] as newest
    from ledger.fills
    where refers_to is not null and recorded_at <= :known_at
    group by refers_to
),
replaced as materialized (
    select f.fill_id, f.quantity, f.kind, r.rivals
    from ledger.fills f join replacing r on r.refers_to = f.fill_id
    where f.executed_at >= :start and f.executed_at < :end and f.recorded_at <= :known_at
),
out_of_force as (
    select quantity from replaced
    union all
    select o.quantity
    from odd o left join replacing r on r.refers_to = o.refers_to
    where (o.kind = 'bust' or o.fill_id <> r.newest)
      and not exists (select from replaced where replaced.fill_id = o.fill_id)
),
loose as (
    select fill_id from odd o
    where kind in ('correct', 'bust') and not exists (
        select from ledger.fills f where f.fill_id = o.refers_to and f.recorded_at <= :known_at
    )
),
total as (
    select count(*) as rows, coalesce(sum(quantity), 0) as quantity
    from ledger.fills
    where executed_at >= :start and executed_at < :end and recorded_at <= :known_at
),
less as (
    select count(*) as rows, coalesce(sum(quantity), 0) as quantity from out_of_force
)
select
    total.rows - less.rows as rows,
    total.quantity - less.quantity as quantity,
    late.*, crossed.*, strange.*, loose.*, rivals.*
from total, less,
    (select count(*) as late, (array_agg(fill_id))[1 : 5] as late_samples
     from odd where kind in ('correct', 'bust')) late,
    (select count(*) as crossed, (array_agg(fill_id))[1 : 5] as crossed_samples
     from odd where recorded_at < executed_at) crossed,
    (select count(*) as strange, (array_agg(fill_id))[1 : 5] as strange_samples
     from odd where kind is null or kind not in ('new', 'correct', 'bust')) strange,
    (select count(*) as loose, (array_agg(fill_id))[1 : 5] as loose_samples from loose) loose,
    (select count(*) as rivals, (array_agg(fill_id))[1 : 5] as rivals_samples
     from replaced where rivals > 1) rivals;

-- name: marks
-- The last mark of every instrument and source before :end, as known at :known_at, the one that
-- values the instrument first: one of the session goes before an older one, then the source higher
-- in :sources, those that it does not name by their names, then the newest; without :sources, and
-- among older ones, the newest. A price that is no number is of a row beside the sound ones.
with last as (
    select distinct on (instrument_id, source, is_number)
        *, array_position(cast(:sources as text[]), source) as place, marked_at >= :start as fresh
    from (
        select *, abs(price) < 1e30 and scale(price) <= 30 as is_number
        from ledger.marks
        where marked_at < :end and recorded_at <= :known_at and price is not null
    ) known
    order by instrument_id, source, is_number, marked_at desc, recorded_at desc, price
)
select instrument_id, price, coalesce(source, '') as source, marked_at, is_number
from last
order by
    instrument_id, is_number desc, fresh desc,
    case when fresh then place end,
    case when fresh and place is null and cardinality(cast(:sources as text[])) > 0
         then source end,
    marked_at desc, place, recorded_at desc, source, price;

-- name: fx_rates
-- The last rate of every pair before :end, as known at :known_at, the sound ones first: one that is
-- no number above 0, or between no currencies, is of a row beside them.
select distinct on (base, quote, is_number)
    base, quote, rate, source, fixed_at, is_number
from (
    select *, coalesce(
        rate > 0 and rate < 1e30 and scale(rate) <= 30
        and base ~ '^[A-Z]{3}$' and quote ~ '^[A-Z]{3}$', false) as is_number
    from ledger.fx_rates
    where fixed_at < :end and recorded_at <= :known_at and rate is not null
) known
order by base, quote, is_number desc, fixed_at desc, recorded_at desc, source, rate;

-- name: first_late_event
-- The earliest moment of business before :before that is changed by what was recorded in
-- (:after, :known_at]: by a fill, by what it corrects or busts, by a mark or a rate, by a new or
-- another end of an order, or by another meaning of an order or an instrument that was filled.
with late_fill as (
    select fill_id, executed_at, refers_to from ledger.fills
    where recorded_at > :after and recorded_at <= :known_at
      and (executed_at < :before or refers_to is not null)
),
late_order as (
    select o.order_id, o.placed_at, o.done_at, e.done_at as earlier_done_at,
           e.order_id is null as is_new,
           e.order_id is not null and
               (o.replaces, o.account_id, o.instrument_id, o.strategy, o.agent, o.side, o.quantity,
                o.placed_at, o.decision_at, o.decision_price, o.arrival_price)
               is distinct from
               (e.replaces, e.account_id, e.instrument_id, e.strategy, e.agent, e.side, e.quantity,
                e.placed_at, e.decision_at, e.decision_price, e.arrival_price) as means_other
    from ledger.orders o
    left join lateral (
        select * from ledger.orders e
        where e.order_id = o.order_id and e.recorded_at < o.recorded_at
        order by e.recorded_at desc limit 1
    ) e on true
    where o.recorded_at > :after and o.recorded_at <= :known_at
      and (o.placed_at < :before or o.done_at < :before)
),
late_instrument as (
    select i.instrument_id
    from ledger.instruments i
    join lateral (
        select * from ledger.instruments e
        where e.instrument_id = i.instrument_id and e.recorded_at < i.recorded_at
        order by e.recorded_at desc limit 1
    ) e on (i.currency, i.multiplier) is distinct from (e.currency, e.multiplier)
    where i.recorded_at > :after and i.recorded_at <= :known_at
    union
    -- An instrument that comes later than its first fill.
    select i.instrument_id
    from ledger.instruments i
    where i.recorded_at > :after and i.recorded_at <= :known_at
      and not exists (
          select from ledger.instruments e
          where e.instrument_id = i.instrument_id and e.recorded_at < i.recorded_at
      )
)
select min(at) as at from (
    select executed_at as at from late_fill
    union all
    select f.executed_at from ledger.fills f
    where f.fill_id in (select refers_to from late_fill where refers_to is not null)
    union all
    select coalesce(done_at, case when is_new then placed_at end) from late_order
    union all
    select earlier_done_at from late_order
    union all
    select least(o.placed_at, f.executed_at)
    from late_order o left join ledger.fills f using (order_id) where o.means_other
    union all
    select min(f.executed_at) from ledger.fills f
    where f.instrument_id in (select instrument_id from late_instrument)
    union all
    select min(marked_at) from ledger.marks
    where recorded_at > :after and recorded_at <= :known_at and marked_at < :before
    union all
    select min(fixed_at) from ledger.fx_rates
    where recorded_at > :after and recorded_at <= :known_at and fixed_at < :before
) late
where at < :before;

-- name: first_late_action
-- The same of corporate actions: when one that was recorded since takes effect, or did as it was
-- known before.
select min(a.effective_at) as at
from ledger.corporate_actions a
where a.effective_at < :before and a.recorded_at <= :known_at
  and a.action_id in (
      select action_id from ledger.corporate_actions
      where recorded_at > :after and recorded_at <= :known_at
  );

-- name: first_late_flow
-- The same of cash flows: when one was paid, or was as it was known before.
select min(f.paid_at) as at
from ledger.cash_flows f
where f.paid_at < :before and f.recorded_at <= :known_at
  and f.flow_id in (
      select flow_id from ledger.cash_flows
      where recorded_at > :after and recorded_at <= :known_at
  );

-- name: first_late_fee
-- The same of fee items: when the fill was executed that an item was recorded for since.
select min(f.executed_at) as at
from ledger.fees i
join ledger.fills f using (fill_id)
where i.recorded_at > :after and i.recorded_at <= :known_at
  and f.executed_at < :before and f.recorded_at <= :known_at;

-- name: late_fills
-- Fills, corrections and busts of a business day that were recorded in (:late_after, :known_at].
select
    fill_id, coalesce(kind, '') as kind, coalesce(refers_to, '') as refers_to,
    coalesce(strategy, '') as strategy, coalesce(agent, '') as agent,
    coalesce(account_id, '') as account_id, coalesce(instrument_id, '') as instrument_id,
    recorded_at
from ledger.fills
where executed_at >= :start and executed_at < :end
  and recorded_at > :late_after and recorded_at <= :known_at
order by recorded_at, fill_id
limit 1000;

-- name: first_activity
-- When trading began, as known at :known_at.
select least(
    (select min(executed_at) from ledger.fills where recorded_at <= :known_at),
    (select min(placed_at) from ledger.orders where recorded_at <= :known_at)
) as at;

-- name: replaced_fills
-- Fills executed in a business day that a correction or a bust took out of force by :known_at.
select
    f.fill_id, f.account_id, f.instrument_id, f.strategy, f.agent, f.side, f.quantity, f.price,
    f.fee, f.fee_currency, f.executed_at, f.kind,
    later.fill_id as replaced_by, later.kind as replaced_as
from ledger.fills f
join ledger.fills later
  -- Said, though the equality says it too: it tells how few they are, so that they are hashed.
  on later.refers_to is not null and later.refers_to = f.fill_id and later.recorded_at <= :known_at
where f.executed_at >= :start and f.executed_at < :end
  and f.recorded_at <= :known_at
  and f.kind is distinct from 'bust'
order by f.fill_id, later.recorded_at;

-- name: correcting_fills
-- Corrections executed in a business day that are in force at :known_at.
select
    f.fill_id, f.account_id, f.instrument_id, f.strategy, f.agent, f.side, f.quantity, f.price,
    f.executed_at
from ledger.fills f
where f.executed_at >= :start and f.executed_at < :end
  and f.recorded_at <= :known_at
  and f.kind = 'correct'
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
order by f.fill_id;

-- name: fee_items
-- What the fees of a business day's fills in force consist of, by cell, kind and currency; items
-- without an amount are counted, and their fills named.
select
    f.account_id, f.instrument_id, f.strategy, f.agent, i.kind, i.currency,
    sum(i.amount) filter (where abs(i.amount) < 1e30 and scale(i.amount) <= 30) as amount,
    count(*) as items,
    count(*) filter (
        where (abs(i.amount) < 1e30 and scale(i.amount) <= 30) is not true
    ) as unknown,
    (array_agg(i.fill_id order by i.fill_id) filter (
        where (abs(i.amount) < 1e30 and scale(i.amount) <= 30) is not true
           or i.currency is null or i.currency !~ '^[A-Z]{3}$'
    ))[1 : 5] as unknown_samples
from ledger.fees i
join ledger.fills f using (fill_id)
where f.executed_at >= :start and f.executed_at < :end
  and f.recorded_at <= :known_at and i.recorded_at <= :known_at
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
group by f.account_id, f.instrument_id, f.strategy, f.agent, i.kind, i.currency
order by f.account_id, f.instrument_id, f.strategy, f.agent, i.kind, i.currency;

-- name: corporate_actions
-- The actions in force at :known_at that take effect in a business day.
select
    action_id, instrument_id, kind, ratio, amount, currency, effective_at,
    -- Columns that a ledger need not have.
    (to_jsonb(newest) ->> 'ratio_new')::numeric as ratio_new,
    (to_jsonb(newest) ->> 'ratio_old')::numeric as ratio_old
from (
    select distinct on (action_id) *
    from ledger.corporate_actions
    where recorded_at <= :known_at
    order by action_id, recorded_at desc
) newest
where effective_at >= :start and effective_at < :end and kind is distinct from 'cancelled'
order by effective_at, action_id;

-- name: cash_flows
-- The payments in force at :known_at that were made in a business day.
select
    flow_id, account_id, instrument_id, strategy, agent, kind, amount, currency, paid_at
from (
    select distinct on (flow_id) *
    from ledger.cash_flows
    where recorded_at <= :known_at
    order by flow_id, recorded_at desc
) newest
where paid_at >= :start and paid_at < :end and amount is distinct from 0
order by paid_at, flow_id;
