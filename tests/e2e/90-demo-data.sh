#!/bin/bash
# The demo's documents are what apt says, whatever characters that has: fetch.sh runs
# against an archive made here, and every line must be the JSON that Python expects.
# Then: check-queries accepts a search without a shared word and refuses the others.
set -eu
cd "$(dirname "$0")/../.."
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
arch=$(dpkg --print-architecture)
dist=$temp/archive/dists/toy
mkdir -p "$dist/main/binary-$arch" "$dist/main/i18n" "$temp/etc" "$temp/state"

python3 - "$dist" "$arch" <<'PY'
import hashlib, os, sys
dist, arch = sys.argv[1:]
md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
descriptions = {
    "plain": "draws dots\n A first line\n and its second.\n .\n Another paragraph:\n  * kept\n",
    "quotes": "says \"hello\" and C:\\new\\table\n Tabs\tand \\\\ and \"quotes\" \\\" &amp; & end\\\n",
    "utf8": "Grüße, 日本語, 🙂\n Ünïcödé — “quotes”\n",
    "long-words": "much text\n" + " word and more words in a line that is long enough\n" * 900,
}
packages = translation = ""
for name, text in descriptions.items():
    packages += f"Package: {name}\nVersion: 1:2.0~rc1-1\nArchitecture: {arch}\nMaintainer: x <x@localhost>\n"
    packages += f"Description: {text.split(chr(10))[0]}\nDescription-md5: {md5(text)}\n"
    packages += "Homepage: https://localhost/?a=1&b=\"2\"\nTag: role::program,\n use::viewing\n" if name == "plain" else ""
    packages += f"Section: utils\nPriority: optional\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {'0' * 64}\n\n"
    translation += f"Package: {name}\nDescription-md5: {md5(text)}\nDescription-en: {text}\n"
# No translation of this one: the short description must do.
packages += f"Package: bare\nVersion: 1\nArchitecture: {arch}\nMaintainer: x <x@localhost>\nDescription: short only\n"
packages += f"Description-md5: {'0' * 32}\nPriority: optional\nFilename: b.deb\nSize: 1\nSHA256: {'0' * 64}\n\n"
release = "Origin: toy\nSuite: toy\nCodename: toy\nComponents: main\n"
release += f"Architectures: {arch}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
for path, text in ((f"main/binary-{arch}/Packages", packages), ("main/i18n/Translation-en", translation)):
    with open(os.path.join(dist, path), "wb") as f:
        f.write(text.encode())
    release += f" {hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())} {path}\n"
with open(os.path.join(dist, "Release"), "w") as f:
    f.write(release)
PY

echo "deb [trusted=yes] file:$temp/archive toy main" >"$temp/etc/sources.list"
: >"$temp/state/status"
cat >"$temp/apt.conf" <<CONF
Dir::Etc::SourceList "$temp/etc/sources.list";
Dir::Etc::SourceParts "$temp/etc/none.d";
Dir::State::Status "$temp/state/status";
Acquire::Languages "none";
CONF
APT_CONFIG=$temp/apt.conf demo/fetch.sh "$temp/out"

python3 - "$temp/out" <<'PY'
import json, sys
folder = sys.argv[1]
got = {}
with open(folder + "/packages.jsonl", encoding="utf-8") as f:
    for line in f:
        one = json.loads(line)
        assert one["id"] not in got, one["id"]
        got[one["id"]] = one
assert sorted(got) == ["bare", "long-words", "plain", "quotes", "utf8"], sorted(got)
plain = got["plain"]
assert plain["text"] == "draws dots.\nA first line and its second.\nAnother paragraph: * kept", plain
assert plain["version"] == "1:2.0~rc1-1" and plain["section"] == "utils", plain
assert plain["homepage"] == 'https://localhost/?a=1&b="2"', plain
assert plain["tags"] == ["role::program", "use::viewing"], plain
assert got["quotes"]["summary"] == 'says "hello" and C:\\new\\table', got["quotes"]
assert got["quotes"]["text"].endswith('Tabs\tand \\\\ and "quotes" \\" &amp; & end\\'), got["quotes"]
assert got["utf8"]["text"] == "Grüße, 日本語, 🙂.\nÜnïcödé — “quotes”", got["utf8"]
assert 31000 < len(got["long-words"]["text"].encode()) <= 32000, len(got["long-words"]["text"])
assert got["bare"]["text"] == "short only." and "homepage" not in got["bare"], got["bare"]
with open(folder + "/packages.tsv", encoding="utf-8") as f:
    assert "plain\tdraws dots\n" in f.readlines()
PY

check() { demo/check-queries "$1" "$temp/out/packages.tsv" >"$temp/checked" 2>"$temp/why"; }
refused() { if check "$1"; then echo "check-queries took $1"; exit 1; fi; }
printf 'make pictures from small points\tplain,gone\n' >"$temp/good"
check "$temp/good"
[ "$(cat "$temp/checked")" = "$(printf 'make pictures from small points\tplain')" ]
printf 'a drawing of something\tplain\n' >"$temp/word"
refused "$temp/word" # draws, drawing: one begins with the first four letters of the other
grep -q 'shares "drawing" with plain' "$temp/why"
printf 'some other thing\tgone\n' >"$temp/none"
refused "$temp/none"
grep -q 'has no answer' "$temp/why"
: >"$temp/empty"
refused "$temp/empty"
[ "$(wc -l <demo/queries.tsv)" -eq 20 ]
