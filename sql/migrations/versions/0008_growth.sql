-- Counting mails costs the same however many there were: attempts are added up as they end.

create table reporting.mail_tally (
    outcome text primary key check (outcome in ('sent', 'temporary', 'permanent', 'unknown')),
    tries   bigint not null
);
comment on table reporting.mail_tally is
    'attempts to send a mail by what came of them, ever; written last in a transaction';
alter table reporting.mail_tally owner to reporting_owner;
grant select, insert, update on reporting.mail_tally to reporting_app;

insert into reporting.mail_tally
    select outcome, tries from (
        select coalesce(sum(sent), 0) as sent, coalesce(sum(temporary), 0) as temporary,
            coalesce(sum(permanent), 0) as permanent, coalesce(sum(lost), 0) as lost
        from reporting.outbox) o,
    lateral (values ('sent', o.sent), ('temporary', o.temporary), ('permanent', o.permanent),
        ('unknown', o.lost)) as t (outcome, tries);
alter table reporting.outbox
    drop column sent, drop column temporary, drop column permanent, drop column lost;

alter table reporting.outbox add takes integer not null default 0;
comment on column reporting.outbox.takes is 'how often in a row it was taken and nothing came of it';

alter table reporting.run add reason text not null default '';
comment on column reporting.run.reason is 'why it was asked for again by hand, if somebody said so';

-- An address is personal data: it goes with the report that it was sent. The log keeps the names.
create function reporting.purge_mails() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    delete from reporting.outbox o
        where (o.kind, o.period, o.revision) = (new.kind, new.period, new.revision);
    return null;
end $$;
alter function reporting.purge_mails() owner to reporting_owner;
create trigger mails_purged after update of body on reporting.issued_report
    for each row when (new.body = '' and old.body <> '') execute function reporting.purge_mails();

create index outbox_due on reporting.outbox ((takes > 9), next_at, id) where state = 'queued';

-- As log_configuration and log_issued: what is asked of the log by its event, without reading it all.
create index log_key_changes on audit.log (seq)
    where position('"event":"checkpoint key changed"'::bytea in entry) > 0;
