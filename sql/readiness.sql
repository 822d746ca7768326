-- name: rows_of_day
-- How many rows a window holds, all versions, as known at :known_at.
select
    (select count(*) from ledger.orders
     where placed_at >= :since and placed_at < :until and recorded_at <= :known_at) as orders,
    (select count(*) from ledger.fills
     where executed_at >= :since and executed_at < :until and recorded_at <= :known_at) as fills;

-- name: end_of_day
-- What the ledger's own end-of-day run said last of a day, null where it did not, and the first day
-- that it ever spoke of.
select said.day, said.orders, said.fills,
    (select min(day) from ledger.end_of_day where recorded_at <= :known_at) as began
from (select) one left join lateral (
    select day, orders, fills from ledger.end_of_day
    where day = :day and recorded_at <= :known_at order by recorded_at desc limit 1) said on true;
