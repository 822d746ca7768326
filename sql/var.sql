-- name: mark_history
-- One mark an instrument and local day, the day's last, as known at :known_at.
select distinct on (instrument_id, day)
    instrument_id, (marked_at at time zone :zone)::date as day, price
from ledger.marks
where marked_at >= :history_start and marked_at < :end and recorded_at <= :known_at
order by instrument_id, day, marked_at desc, recorded_at desc;

-- name: fx_history
-- One rate a pair and local day, the day's last, as known at :known_at.
select distinct on (base, quote, day)
    base, quote, (fixed_at at time zone :zone)::date as day, rate
from ledger.fx_rates
where fixed_at >= :history_start and fixed_at < :end and recorded_at <= :known_at
order by base, quote, day, fixed_at desc, recorded_at desc;
