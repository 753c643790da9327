#!/bin/bash
# Claim: a server that is told to stop while it reads its collections gives that up,
# calls it no error, nor being asked whether it is ready, and exits 0; the next start reads them all.
. "$(dirname "$0")/common.sh"
start
python3 - "$WORK/rows.fvecs" <<'PY'
import os, struct, sys
row = struct.pack("<i", 16)
with open(sys.argv[1], "wb") as f:
    for i in range(40000):
        f.write(row + struct.pack("<16f", *(((i * k) % 97) - 48.5 for k in range(1, 17))))
PY
check "import" "$BIN/halftone" import --url "$URL" --collection c --dims 4096 --bits 4 "$WORK/rows.fvecs"
stop
cat >"$WORK/stop.py" <<'PY'
import re, signal, subprocess, sys, urllib.error, urllib.request
given_up = asked = 0
for round in range(8):
    server = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
    log = ""
    for line in server.stderr:
        log += line
        if " listening " in line:
            url = "http://%s/readyz" % re.search(r"address=(\S+)", line)[1]
            try:  # asked in the middle of a start: no error of the server
                urllib.request.urlopen(url, timeout=5)
            except urllib.error.HTTPError as e:
                asked += e.code == 503
            server.send_signal(signal.SIGTERM)
    if server.wait() != 0 or " error " in log or "stopped clean=yes" not in log:
        sys.exit("exit %d\n%s" % (server.returncode, log))
    given_up += "given_up=" in log and " ready " not in log
print("given up in %d of 8 rounds" % given_up)
sys.exit(0 if given_up and asked else 1)
PY
check "stops" python3 "$WORK/stop.py" "$SERVER" --data "$DATA" --listen 127.0.0.1:0 --models "$MODELS"
start
expect "count" 200 '"count":40000' POST /collections/c/points/count
stop
finish
