-- A report is rendered again whenever it is wanted; its signature can not be made a second time.

create table reporting.signed_part (
    kind     text not null,
    period   text not null,
    revision integer not null,
    name     text not null,
    body     bytea not null,
    primary key (kind, period, revision, name),
    foreign key (kind, period, revision) references reporting.issued_report
);
comment on table reporting.signed_part is
    'what signing added, by file: for report.pdf the appended bytes, for the others all of it';

do $$
begin
    alter table reporting.signed_part owner to reporting_owner;
    create trigger append_only before update or delete on reporting.signed_part
        for each row execute function reporting.refuse_change();
    create trigger never_truncated before truncate on reporting.signed_part
        for each statement execute function reporting.refuse_change();
    grant select, insert on reporting.signed_part to reporting_app;
end $$;
