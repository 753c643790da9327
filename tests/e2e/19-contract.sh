#!/bin/bash
# Claim: docs/openapi.yaml and the server name the same paths and methods, and the answers
# of the main routes have the keys and types of its schemas; the README names every setting.
. "$(dirname "$0")/common.sh"
start
spec=$ROOT/docs/openapi.yaml
# "METHOD /path" of the contract; a path that is an alias (*health) is a GET.
awk '/^paths:/ {on = 1; next} /^[a-z]/ {on = 0}
	on && /^  \// {path = $1; sub(/:$/, "", path); if (/\*health/) print "GET", path}
	on && /^    (get|put|post|patch|delete):/ {m = $1; sub(/:$/, "", m); print toupper(m), path}' \
	"$spec" | sort >"$WORK/contract"
# The same of the server: what it lists under Allow for each of these paths.
while read -r path; do
	url=$URL${path//\{collection\}/c}
	curl -si -X OPTIONS "${url//\{model\}/static}" | tr -d '\r' |
		sed -n 's/^Allow: //p' | tr ',' '\n' | tr -d ' ' | grep -vx 'HEAD\|OPTIONS' |
		sed "s|\$| $path|"
done < <(cut -d' ' -f2 "$WORK/contract" | sort -u) | sort >"$WORK/served"
check "methods agree" diff "$WORK/contract" "$WORK/served"
check "the server has it" cmp "$spec" <(curl -s "$URL/openapi.yaml")
check "paths were found" test "$(wc -l <"$WORK/contract")" -ge 18
# No served route is missing from it: patterns with a handler in the table.
sed -n 's/^    {\(C\)\? *\("[^"]*"\)\?, api_.*/\1\2/p' "$ROOT/server/api.c" |
	sed 's|^C|/collections/{collection}|; s|"||g' | sort -u >"$WORK/routes"
check "routes agree" diff "$WORK/routes" <(cut -d' ' -f2 "$WORK/contract" | sort -u)
check "answers have the keys of their schemas" \
	python3 "$(dirname "$0")/contract_probe.py" "$PORT" "$spec"
# Every setting stands in the README's table.
"$SERVER" --data "$DATA" --print-config | sed 's/ = .*//' | sort >"$WORK/settings"
grep '^| `' "$ROOT/README.md" | cut -d'|' -f2 | grep -o '`[a-z_]*`' | tr -d '`' | sort >"$WORK/listed"
check "settings are listed" test -z "$(comm -23 "$WORK/settings" "$WORK/listed" | tee /dev/stderr)"
check "settings were found" test "$(wc -l <"$WORK/settings")" -ge 20
stop
finish
