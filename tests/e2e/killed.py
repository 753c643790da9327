"""A server that is killed and started again, for the tests that do so."""

import http.client
import json
import re
import subprocess
import sys
import threading


def start(server, data):
    """The process and its port, when it is ready."""
    p = subprocess.Popen(
        [server, "--data", data, "--listen", "127.0.0.1:0", "--log-level", "info"],
        stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        m = re.search(r" ready address=127.0.0.1:(\d+)", line)
        if m:
            threading.Thread(target=p.stderr.read, daemon=True).start()
            return p, int(m.group(1))
    sys.exit("the server did not start again")


def call(c, method, path, body=None):
    c.request(method, path, None if body is None else json.dumps(body))
    r = c.getresponse()
    return r.status, json.loads(r.read())


def work(port, do):
    """do(connection) again and again, until the server is gone."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        while True:
            do(c)
    except (OSError, http.client.HTTPException, ValueError):
        pass
