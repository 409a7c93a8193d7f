#!/usr/bin/env bash
# Fetches what SPICE needs and no Python package ships: Stanford CoreNLP 3.6.0 and its models, some 400 MB, GPL.
#
#   scripts/download_eval_dependencies.sh [--python PROGRAM] [--from ADDRESS]
#
# --python  the Python that pycocoevalcap is installed for (.venv/bin/python, else python3)
# --from    where the jars and their .sha1 files lie (Maven Central)
#
# What pycocoevalcap 1.2 ships is held against SHA-256 sums taken from the package on PyPI. For the Stanford jars no
# sum could be learnt where this was written, no server that has them being reachable, and so none is written here:
# they are held against the SHA-1 sums that Maven Central publishes beside them, which finds broken downloads, not
# forged ones. Their SHA-256 sums are then printed and kept beside them; a later run holds the jars against those.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ -x "$python" ] || python=python3
from=https://repo1.maven.org/maven2/edu/stanford/nlp/stanford-corenlp/3.6.0
while [ $# -gt 0 ]; do
  case "$1" in
    --python) python=${2:?--python needs a program}; shift 2 ;;
    --from) from=${2:?--from needs an address}; shift 2 ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
  esac
done

fail() { echo "$1" >&2; exit 1; }
package=$("$python" -c 'import importlib.util as u; print(u.find_spec("pycocoevalcap.spice").submodule_search_locations[0])' \
  2>/dev/null) || fail "pycocoevalcap is not installed for $python: pip install 'ctrlg[eval]'"
cd "$package/.."

sha256sum --check --quiet - <<'SUMS' || fail "pycocoevalcap is not as its version 1.2 on PyPI: install it again"
1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2  meteor/meteor-1.5.jar
c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48  meteor/data/paraphrase-en.gz
6c6a73ae6dd108667047c1818707590413934dcb9f1a62cef6469059b41b3d59  spice/spice-1.0.jar
SUMS

cd spice/lib
kept=stanford-corenlp-3.6.0.sha256
for name in stanford-corenlp-3.6.0.jar stanford-corenlp-3.6.0-models.jar; do
  [ -f "$name" ] && continue
  echo "fetching $from/$name"
  rm -f "$kept"  # of jars that are no longer all here
  curl --proto =https,file --fail --location --silent --show-error --retry 3 --output "$name.sha1" "$from/$name.sha1"
  curl --proto =https,file --fail --location --progress-bar --retry 3 --output "$name.part" "$from/$name"
  published=$(cut -c 1-40 "$name.sha1")
  rm "$name.sha1"
  echo "$published  $name.part" | sha1sum --check --status || {
    rm "$name.part"
    fail "$name is not what $from says it is (SHA-1 $published): try again"
  }
  mv "$name.part" "$name"
done

if [ -f "$kept" ]; then
  sha256sum --check --quiet "$kept" || fail "a jar in $PWD has changed since it was fetched: remove both and run this again"
else
  sha256sum stanford-corenlp-3.6.0.jar stanford-corenlp-3.6.0-models.jar | tee "$kept"
fi
echo "SPICE has its jars, in $PWD. It runs on Java 8 (at most 13); first on the search path is:"
java -version 2>&1 | head -n 1 || true
