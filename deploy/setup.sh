#!/usr/bin/env bash
# Everything that `make demo` and `make test` need, on a fresh Debian or Ubuntu: `make setup`.
#
# Into the system go only what can't live in the project: Python's venv module, Pango for
# WeasyPrint, two PDF tools, texts of Alertmanager's and (where nobody has to be asked) a browser for
# the tests; none of them is a service.
# Into the project go .venv (pinned by requirements-dev.lock) and var/tools (Prometheus,
# Alertmanager, exporters; unpacked and never installed, since installing them would start
# services). Run again, it finds all of it in place.
#
# PYTHON=… chooses the interpreter. pip's own configuration decides where packages come from.
# Exit code 2: something is missing that needs an administrator; the command to run is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TOOLS=var/tools/usr/bin
readonly LOCK=requirements-dev.lock
readonly MADE=.venv/.made-from # written last: a venv without it is half made

main() {
    mkdir -p var
    exec 9>var/.setup.lock
    flock --nonblock 9 || { say "waiting for another set-up to end"; flock 9; }

    PATH=${PATH//"$PWD/.venv/bin:"/} # activated or not: it may be made anew, and not by itself
    python=$(find_python)
    install_system_packages
    fetch_tools
    install_browser
    make_venv
    install_project
}

say() { echo "setup: $*"; }
stop() { echo "setup: $*" >&2; exit 2; }

# ---- Python -------------------------------------------------------------------------------------

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.14 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
            2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    stop "found no Python 3.11 to 3.14; install one (apt-get install python3) or name it: make setup PYTHON=/path/to/python3"
}

# ---- the system ---------------------------------------------------------------------------------

# Names of the Debian packages that are missing, found by what they bring and not by their name, so
# that other ways of having it count too.
missing_packages() {
    "$python" - <<'PY'
import ctypes, importlib.util, shutil, sys, sysconfig

if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
    print(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
for library, package in (
    ("libpango-1.0.so.0", "libpango-1.0-0"),
    ("libpangoft2-1.0.so.0", "libpangoft2-1.0-0"),  # brings harfbuzz, fontconfig and gobject
    ("libharfbuzz-subset.so.0", "libharfbuzz-subset0"),
):
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
for program, package in (("pdftotext", "poppler-utils"), ("qpdf", "qpdf")):
    if shutil.which(program) is None:
        print(package)
PY
}

install_system_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    need_apt "${packages[@]}"
    say "system packages: ${packages[*]}"
    refresh_lists_without "${packages[@]}"
    # Older releases ship the subsetter inside libharfbuzz0b.
    local known=() package
    for package in "${packages[@]}"; do
        [ "$package" = libharfbuzz-subset0 ] && ! in_lists "$package" || known+=("$package")
    done
    install=(install --yes --no-install-recommends "${known[@]}")
    if ! as_root apt-get -qq "${install[@]}" >var/setup-apt.log 2>&1; then
        as_root apt-get -qq update >>var/setup-apt.log 2>&1 || true # lists may name what is gone
        as_root apt-get -qq "${install[@]}" >>var/setup-apt.log 2>&1 ||
            { tail -n 20 var/setup-apt.log >&2; stop "apt-get failed; see var/setup-apt.log"; }
    fi
}

need_apt() {
    command -v apt-get >/dev/null ||
        stop "this machine has no apt-get; install by its own means what these Debian packages bring, then run it again: $*"
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || ask_administrator "$*"
}

ask_administrator() {
    stop "an administrator is needed once. Run this, then the same make command again:

    sudo apt-get update && sudo apt-get install --yes --no-install-recommends $*
"
}

as_root() {
    local environment=(env DEBIAN_FRONTEND=noninteractive)
    if [ "$(id -u)" = 0 ]; then "${environment[@]}" "$@"; else sudo -n "${environment[@]}" "$@"; fi
}

in_lists() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

refresh_lists_without() {
    local package
    for package in "$@"; do
        in_lists "$package" && continue
        if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
            as_root apt-get -qq update >/dev/null
            return
        fi
        stop "apt's package lists don't know $package. An administrator is needed once. Run this, then the same make command again:

    sudo apt-get update
"
    done
}

# ---- Prometheus, Alertmanager and exporters -----------------------------------------------------

# Program and the Debian packages that bring it. What is optional (a second metrics backend, a token
# for keys, clocks that are set) is for tests only: a distribution without it only skips those.
readonly PROGRAMS=(
    prometheus:prometheus
    promtool:prometheus
    prometheus-node-exporter:prometheus-node-exporter
    prometheus-blackbox-exporter:prometheus-blackbox-exporter
    prometheus-postgres-exporter:prometheus-postgres-exporter
    prometheus-alertmanager:prometheus-alertmanager
    amtool:prometheus-alertmanager
)
readonly OPTIONAL=(
    victoria-metrics:victoria-metrics
    "softhsm2-util:softhsm2 libsofthsm2"
    "faketime:faketime libfaketime"
)
readonly TOKEN=lib/softhsm/libsofthsm2.so
readonly TEMPLATES=/usr/share/prometheus/alertmanager
readonly LACKING=var/tools/.lacking # what this distribution does not have

# Debian's binaries are linked to libc only (VictoriaMetrics also to libzstd, which apt itself
# needs, SoftHSM to OpenSSL), so unpacked they run. No root needed.
fetch_tools() {
    local lacking=() packages=() package
    mapfile -t lacking < <(lacking_programs)
    if [ ${#lacking[@]} -gt 0 ]; then
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
            stop "this machine has no apt-get; put ${lacking[*]} on PATH, then run it again"
        # An earlier run may have unpacked fewer: only what is not there yet is fetched.
        mapfile -t packages < <(packages_of "${lacking[@]}" | sort -u)
        refresh_lists_without "${packages[@]}"
        for package in promtool amtool; do # packages of their own in some releases
            case " ${lacking[*]} " in *" $package "*) ! in_lists "$package" || packages+=("$package") ;; esac
        done
        say "tools into var/tools: ${packages[*]}"
        unpack "${packages[@]}"
        mapfile -t lacking < <(lacking_programs)
        [ ${#lacking[@]} -eq 0 ] || stop "${packages[*]} did not bring ${lacking[*]}"
    fi
    fetch_optional
    place_templates
}

# Their absence stops nothing. Where the distribution does not have one, that is asked only once.
fetch_optional() {
    local pair program packages
    for pair in "${OPTIONAL[@]}"; do
        program=${pair%%:*}
        if have "$program" || grep -qsx "$program" "$LACKING"; then continue; fi
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 0
        read -ra packages <<<"${pair#*:}"
        if in_lists "${packages[0]}"; then
            say "tools into var/tools: ${packages[*]}"
            (unpack "${packages[@]}") && have "$program" ||
                say "went on without $program; the tests that need it are skipped"
        elif in_lists prometheus; then # the lists are there, and it is not in them
            say "this distribution has no $program; the tests that need it are skipped"
            mkdir -p var/tools
            echo "$program" >>"$LACKING"
        fi
    done
}

# Debian's Alertmanager starts only where the texts of its messages lie in the system; it can't be
# told another place. Without an administrator they stay away, and the tests that start Alertmanager
# are skipped.
place_templates() {
    local missing=() file
    for file in "var/tools$TEMPLATES"/*.tmpl; do
        [ ! -e "$file" ] || [ -e "$TEMPLATES/${file##*/}" ] || missing+=("$file")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
        say "Alertmanager's messages into $TEMPLATES"
        as_root install -D --mode 644 --target-directory "$TEMPLATES" "${missing[@]}" ||
            say "went on without them; the tests that start Alertmanager are skipped"
    fi
}

# Only the programs are wanted. Each appears under its name at once and whole.
unpack() {
    local folder file name
    folder=$(mktemp -d var/tools.XXXXXX)
    # shellcheck disable=SC2064 # the name as it is now
    trap "rm -rf '$folder'" EXIT
    download "$folder" "$@"
    mkdir -p "$TOOLS"
    for file in "$folder"/*.deb; do dpkg-deb --extract "$file" "$folder/unpacked"; done
    for name in "${PROGRAMS[@]%%:*}" "${OPTIONAL[@]%%:*}"; do
        file=$folder/unpacked/usr/bin/$name
        [ ! -e "$file" ] || mv -f "$file" "$TOOLS/"
    done
    for file in "$folder"/unpacked/usr/lib/*/softhsm/libsofthsm2.so; do
        [ ! -e "$file" ] || install -D --mode 644 "$file" "var/tools/usr/$TOKEN"
    done
    for file in "$folder"/unpacked/usr/lib/*/faketime/libfaketime.so.1; do
        [ ! -e "$file" ] || install -D --mode 644 --target-directory var/tools/usr/lib/faketime "$file"
    done
    for file in "$folder/unpacked$TEMPLATES"/*.tmpl; do
        [ ! -e "$file" ] || install -D --mode 644 --target-directory "var/tools$TEMPLATES" "$file"
    done
    rm -rf "$folder"
    trap - EXIT
}

# Exporters and Alertmanager go by another name where they don't come from Debian.
lacking_programs() {
    local name other
    for name in "${PROGRAMS[@]%%:*}"; do
        other=${name#prometheus-}
        have "$name" || have "${other//-/_}" || echo "$name"
    done
}

packages_of() {
    local pair name
    for name in "$@"; do
        for pair in "${PROGRAMS[@]}"; do
            [ "${pair%%:*}" != "$name" ] || echo "${pair#*:}"
        done
    done
}

have() { [ -x "$TOOLS/$1" ] || command -v "$1" >/dev/null; }

download() {
    local folder=$1 options=(-qq)
    shift
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root) # else it warns about the folder
    (cd "$folder" && apt-get "${options[@]}" download "$@") >var/setup-apt.log 2>&1 && return
    # The lists may name versions that the mirror has replaced since.
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
        as_root apt-get -qq update >>var/setup-apt.log 2>&1 || true
        (cd "$folder" && apt-get "${options[@]}" download "$@") >>var/setup-apt.log 2>&1 && return
    fi
    tail -n 5 var/setup-apt.log >&2
    stop "could not download $*; is the network there? If it is, run: sudo apt-get update"
}

# ---- a browser -----------------------------------------------------------------------------------

# For the tests that look at pages as people do. Too large to ask an administrator for: without one
# they are skipped.
install_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    if grep -qsx chromium "$LACKING"; then return; fi
    command -v apt-get >/dev/null || return 0
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || return 0
    if in_lists chromium; then
        say "a browser for the tests: chromium"
        if as_root apt-get -qq install --yes --no-install-recommends chromium \
            >var/setup-apt.log 2>&1; then return; fi
    fi
    say "went on without a browser; the tests that need one are skipped"
    mkdir -p var/tools
    echo chromium >>"$LACKING"
}

# ---- .venv --------------------------------------------------------------------------------------

make_venv() {
    local wanted
    wanted=$({ cat "$LOCK"; echo "$PWD $python"; } | sha256sum)
    [ "$(cat "$MADE" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null && return
    say ".venv for $("$python" --version): $(grep -c '==' "$LOCK") pinned packages (about a minute)"
    rm -rf .venv
    "$python" -m venv .venv
    pip --require-hashes --no-deps --only-binary :all: --requirement "$LOCK"
    echo "$wanted" >"$MADE"
}

# The checkout itself, editable; its build needs nothing that is not pinned in the lock.
install_project() {
    local wanted
    wanted=$(sha256sum <pyproject.toml)
    [ "$(cat .venv/.project 2>/dev/null)" = "$wanted" ] && return
    say "the project into .venv"
    pip --no-deps --no-build-isolation --no-index --editable .
    echo "$wanted" >.venv/.project
}

pip() {
    .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@" 2>var/setup-pip.log ||
        { tail -n 20 var/setup-pip.log >&2; stop "pip failed; see var/setup-pip.log"; }
}

main
