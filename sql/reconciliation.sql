-- name: reported_positions
-- The newest statement of each source and account before :end, as known at :known_at, whole.
select s.account_id, s.instrument_id, s.quantity, s.source, s.stated_at
from (
    select *, max(stated_at) over (partition by source, account_id) as newest
    from ledger.reported_positions
    where stated_at < :end and recorded_at <= :known_at
) s
where s.stated_at = s.newest
order by s.source, s.account_id, s.instrument_id, s.recorded_at;

-- name: reported_cash
-- The newest statement of each source and account before :end, as known at :known_at, whole.
select s.account_id, s.currency, s.balance, s.source, s.stated_at
from (
    select *, max(stated_at) over (partition by source, account_id) as newest
    from ledger.reported_cash
    where stated_at < :end and recorded_at <= :known_at
) s
where s.stated_at = s.newest
order by s.source, s.account_id, s.currency, s.recorded_at;

-- name: first_late_positions
-- The earliest statement of positions before :before that was recorded in (:after, :known_at].
select min(stated_at) as at from ledger.reported_positions
where recorded_at > :after and recorded_at <= :known_at and stated_at < :before;

-- name: first_late_cash
-- The earliest statement of cash before :before that was recorded in (:after, :known_at].
select min(stated_at) as at from ledger.reported_cash
where recorded_at > :after and recorded_at <= :known_at and stated_at < :before;
