"""Eight writers; SIGTERM in the middle; every answer is whole or there is none.

usage: stop_probe.py PORT PID FILE    (FILE := how many points were acknowledged)
"""

import http.client
import json
import os
import signal
import sys
import threading
import time

port, pid, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
acked, refused, torn, lock = 0, 0, 0, threading.Lock()


def write(worker):
    global acked, refused, torn
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    i = 0
    while True:
        i += 1
        body = json.dumps({"points": [{"id": worker * 10**6 + i, "vector": [1] * 8}]})
        try:
            c.request("PUT", "/collections/c/points", body)
            r = c.getresponse()
        except (OSError, http.client.HTTPException):
            return  # closed before an answer: the outcome is unknown
        try:
            answer = json.loads(r.read())
        except ValueError:
            with lock:
                torn += 1
            return
        with lock:
            if r.status == 200 and answer["result"]["status"] == "completed":
                acked += 1
            elif r.status == 503:
                refused += 1
                return
            else:
                torn += 1
                return


# A connection that was idle asks for readiness at the moment of the stop.
threads = [threading.Thread(target=write, args=(w,)) for w in range(8)]
for t in threads:
    t.start()
time.sleep(0.7)
os.kill(pid, signal.SIGTERM)
for t in threads:
    t.join()
try:
    http.client.HTTPConnection("127.0.0.1", port, timeout=2).request("GET", "/readyz")
    print("accepted a connection after the stop")
    sys.exit(1)
except OSError:
    pass
with open(path, "w") as f:
    f.write(str(acked))
print(f"acknowledged {acked}, refused {refused}, torn {torn}")
sys.exit(1 if torn or not acked else 0)
