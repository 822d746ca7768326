#!/usr/bin/env bash
# Pin every dependency with its hashes, for Python 3.11 to 3.14 on Linux: `make lock`.
#
#   requirements.lock      what the service runs on (the image installs this)
#   requirements-dev.lock  the same versions, and what builds, checks and tests it (.venv)
#
# Uses the package sources that uv is configured with (UV_DEFAULT_INDEX, uv.toml); none is named
# here, and --no-emit-index-url keeps them out of the files.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=var/lock
[ -x "$tool/bin/uv" ] || { python3 -m venv "$tool" && "$tool/bin/pip" install --quiet 'uv>=0.13'; }

pin() {
    "$tool/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 \
        --fork-strategy fewest --generate-hashes --only-binary :all: \
        --no-emit-index-url --no-annotate --no-header --upgrade "$@"
}
pin --output-file requirements.lock
pin --group dev --constraints requirements.lock --output-file requirements-dev.lock
echo "made requirements.lock ($(grep -c == requirements.lock) packages) and" \
    "requirements-dev.lock ($(grep -c == requirements-dev.lock)); run make test before you commit them"
