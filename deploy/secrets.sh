#!/usr/bin/env bash
# Makes what docker-compose.yml reads as secrets: deploy/secrets.sh [FOLDER], var/secrets by default.
#
# A private authority with certificates for PostgreSQL and the mail catcher, a password for each role
# of the database, and Grafana's. What exists is kept, so that a second run changes nothing; to change
# a password of a role, change it in the database too. The files belong to the users of the containers
# that read them, which takes root; run by somebody else it says what is left to do.
#
# What only the site knows is made empty and named at the end: Alertmanager starts without it, since
# it reads each when it has somebody to tell, and then says in its log what failed.
set -euo pipefail
umask 077

readonly FOLDER=${1:-var/secrets}
readonly DAYS=825
# Users inside the containers.
readonly POSTGRES=999 NOBODY=65534 SERVICE=10001 GRAFANA=472
readonly SITE="slack_webhook_url pagerduty_routing_key pagerduty_emergency_key smtp_password deadmans_switch_token"

main() {
    mkdir -p "$FOLDER"
    cd "$FOLDER"
    authority
    certificate postgres "$POSTGRES"
    certificate mail "$NOBODY"
    passwords
    own 0 0444 ca postgres_cert mail_cert
    local missing=() name
    for name in $SITE; do
        [ -s "$name" ] || missing+=("$name")
        touch "$name"
        own "$NOBODY" 0400 "$name"
    done
    echo "secrets: complete in $FOLDER, but for what only the site knows: ${missing[*]:-nothing}"
    [ -z "${missing[*]}" ] || echo "secrets: no alert reaches anybody until these are written"
}

authority() {
    [ -s ca_key ] && [ -s ca ] && return
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$DAYS" \
        -subj "/CN=reporting compose authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca_key -out ca 2>/dev/null
}

# A certificate for a service's name in compose's network, and for a client on this machine.
certificate() {
    local name=$1 owner=$2
    if [ ! -s "${name}_cert" ] || [ ! -s "${name}_key" ]; then
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
            -keyout "${name}_key" -out "$name.csr" 2>/dev/null
        openssl x509 -req -in "$name.csr" -CA ca -CAkey ca_key -days "$DAYS" -out "${name}_cert" \
            -extfile <(printf '%s\n' "subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1" \
                "extendedKeyUsage=serverAuth" "basicConstraints=CA:FALSE") 2>/dev/null
        rm "$name.csr"
    fi
    own "$owner" 0400 "${name}_key"
}

# One file for each reader: a file has one owner. Nothing but hex, so that no format needs quoting,
# and no "$", which Grafana would take for a variable.
passwords() {
    if [ ! -s postgres_roles ]; then
        local super app ledger dashboard monitor
        super=$(random) app=$(random) ledger=$(random) dashboard=$(random) monitor=$(random)
        printf %s "$super" >postgres_password
        printf %s "$dashboard" >dashboard_password
        printf %s "$monitor" >monitor_password
        echo "postgres:5432:*:postgres:$super" >pgpass_admin
        printf 'postgres:5432:*:%s:%s\n' reporting_app "$app" reporting_ledger "$ledger" >pgpass
        cat pgpass >>pgpass_admin
        # Written last: with it the others are there.
        printf "create role %s login password '%s';\n" reporting_app "$app" \
            reporting_ledger "$ledger" reporting_dashboard "$dashboard" \
            reporting_monitor "$monitor" >postgres_roles
    fi
    [ -s grafana_admin_password ] || random >grafana_admin_password
    own "$POSTGRES" 0400 postgres_password postgres_roles
    own "$SERVICE" 0400 pgpass pgpass_admin
    own "$GRAFANA" 0400 dashboard_password grafana_admin_password
    own "$NOBODY" 0400 monitor_password
}

random() { openssl rand -hex 24 | tr -d '\n'; }

own() {
    local owner=$1 mode=$2
    shift 2
    chmod "$mode" "$@"
    if [ "$(id -u)" = 0 ]; then
        chown "$owner:$owner" "$@"
    elif [ "$owner" != 0 ]; then
        echo "secrets: as root: chown $owner:$owner $FOLDER/{$(IFS=,; echo "$*")}" >&2
    fi
}

main
