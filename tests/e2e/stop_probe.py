"""Eight writers; SIGTERM in the middle; every answer is whole or there is none.  A health
check asks all the while: ready, then at most one 503 that closes the connection.

usage: stop_probe.py PORT PID FILE
FILE := how many points were acknowledged, and whether the 503 was seen: the server closes
idle connections within 50 ms, so that a check may find its connection closed instead.
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


ready, stopping, unhealthy = 0, 0, []


def health():
    """Ask for readiness on one connection until it is closed."""
    global ready, stopping
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while True:
        try:
            if stopping and c.sock is None:
                return  # closed behind the 503, as it said
            c.request("GET", "/readyz")
            r = c.getresponse()
            body = r.read()
        except (OSError, http.client.HTTPException):
            return
        if r.status == 200 and not stopping:
            ready += 1
        elif r.status == 503 and b"stopping" in body and r.getheader("Connection") == "close":
            stopping += 1
        else:
            unhealthy.append((r.status, body))
            return


threads = [threading.Thread(target=write, args=(w,)) for w in range(8)]
threads.append(threading.Thread(target=health))
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
    f.write(f"{acked} {stopping}\n")
print(f"acknowledged {acked}, refused {refused}, torn {torn}")
print(f"ready {ready}, stopping {stopping}, neither {unhealthy}")
sys.exit(1 if torn or not acked or not ready or stopping > 1 or unhealthy else 0)
