"""Raw bytes against the server: framing, deadline, cap, descriptors.

usage: http_probes.py framing|slow|cap|descriptors PORT [N]
Each probe prints one line; exit 1 if any answer is not the expected one.
"""

import json
import os
import re
import resource
import socket
import sys
import threading
import time

PORT = int(sys.argv[2])
failed = 0


def check(name, ok, detail=""):
    global failed
    failed += not ok
    print(("ok    " if ok else "FAIL  ") + name, detail if not ok else "")


def connect():
    return socket.create_connection(("127.0.0.1", PORT), timeout=20)


def read_all(s):
    """Everything until the server closes, or what came before it was reset."""
    got = b""
    try:
        while piece := s.recv(65536):
            got += piece
    except OSError:
        pass
    return got


def statuses(raw):
    return [int(m) for m in re.findall(rb"HTTP/1\.[01] (\d{3}) ", raw)]


def is_json(raw):
    """The last answer in it has a JSON body and an id, unless it is no error."""
    if statuses(raw)[-1] < 400:
        return True
    try:
        return b"\r\nx-request-id: " in raw and isinstance(json.loads(raw.rpartition(b"\r\n\r\n")[2].decode("utf-8")), dict)
    except ValueError:
        return False


H = b"Host: localhost\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HIDDEN = b"PUT /collections/hidden HTTP/1.1\r\n" + H + b"Content-Length: 2\r\n\r\n{}"


def with_body(method, length):
    """HIDDEN as body of a request that seldom has one: a second request if it is skipped."""
    return method + b" /healthz HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % length + HIDDEN + LAST


FRAMING = [
    # name, bytes, statuses expected before the server closes, word of the message
    ("plain", LAST, [200], b""),
    ("two Content-Length", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + LAST, [400], b"one Content-Length"),
    ("same Content-Length twice", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + LAST, [400], b"one Content-Length"),
    ("Content-Length +5", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n\r\nabcde" + LAST, [400], b"digits"),
    ("Content-Length -1", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n" + LAST, [400], b"digits"),
    ("Content-Length 0x5", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n\r\nabcde" + LAST, [400], b"digits"),
    ("Content-Length empty", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\n" + LAST, [400], b"digits"),
    ("Content-Length of a raw byte", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: \xff\r\n\r\n" + LAST, [400], b"digits"),
    ("Content-Length cut in a character", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: " + "€".encode() * 30 + b"\r\n\r\n" + LAST, [400], b"digits"),
    ("Content-Length list", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 3, 3\r\n\r\nabc" + LAST, [400], b"digits"),
    ("Content-Length huge", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 100000000000000000000\r\n\r\n", [413], b"max_body_bytes"),
    ("Content-Length over the limit", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 99999999999\r\n\r\n", [413], b"max_body_bytes"),
    ("space before the colon", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length : 5\r\n\r\nabcde" + LAST, [400], b"colon"),
    ("folded header", b"GET /healthz HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n", [400], b"folding"),
    ("unknown Transfer-Encoding", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST, [400], b"chunked"),
    ("gzip, chunked", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + LAST, [400], b"chunked"),
    ("chunked twice", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST, [400], b"chunked"),
    ("both framings", b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST, [400], b"not both"),
    ("chunk size 0x5", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n", [400], b"hexadecimal"),
    ("chunk size +5", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nabcde\r\n0\r\n\r\n", [400], b"hexadecimal"),
    ("chunk size huge", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", [400], b"hexadecimal"),
    ("chunk over the limit", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", [413], b"max_body_bytes"),
    ("chunk without its end", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", [400], b"chunk"),
    ("trailer", b"POST /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", [400], b"trailers"),
    ("HEAD with a body", with_body(b"HEAD", len(HIDDEN)), [400], b"HEAD"),
    ("HEAD with chunks", b"HEAD /healthz HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST, [400], b"HEAD"),
    ("HEAD without a body", b"HEAD /healthz HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n" + LAST, [200, 200], b""),
    ("GET with a body", with_body(b"GET", len(HIDDEN)), [200, 200], b""),
    ("DELETE with a body", with_body(b"DELETE", len(HIDDEN)), [405, 200], b""),
    ("PATCH with a body", with_body(b"PATCH", len(HIDDEN)), [405, 200], b""),
    ("OPTIONS with a body", with_body(b"OPTIONS", len(HIDDEN)), [204, 200], b""),
    ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n" + LAST, [400], b"Host"),
    ("two Host", b"GET /healthz HTTP/1.1\r\n" + H + H + b"\r\n", [400], b"Host"),
    ("bare LF", b"GET /healthz HTTP/1.1\nHost: x\n\n", [400], b"CR LF"),
    ("CR inside a line", b"GET /healthz HTTP/1.1\r\nHost: x\ry\r\n\r\n", [400], b"CR LF"),
    ("NUL in a header", b"GET /healthz HTTP/1.1\r\nHost: x\0y\r\n\r\n", [400], b"control"),
    ("absolute target", b"GET http://x/healthz HTTP/1.1\r\n" + H + b"\r\n", [400], b"begins with"),
    ("raw byte in the target", b"GET /\xff HTTP/1.1\r\n" + H + b"\r\n", [400], b"%XX"),
    ("half an escape", b"GET /%4 HTTP/1.1\r\n" + H + b"\r\n", [400], b"%XX"),
    ("HTTP/2.0", b"GET /healthz HTTP/2.0\r\n" + H + b"\r\n", [400], b"HTTP/1.1"),
    ("HTTP/0.9", b"GET /healthz\r\n", [400], b"first line"),
    ("method TRACE", b"TRACE /healthz HTTP/1.1\r\n" + H + b"\r\n", [501], b"TRACE"),
    ("method TRACE, OpenAI", b"TRACE /v1/embeddings HTTP/1.1\r\n" + H + b"\r\n", [501], b'"type":"not_implemented_error"'),
    ("method of noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400], b"control"),
    ("long header", b"GET /healthz HTTP/1.1\r\n" + H + b"X: " + b"a" * 70000 + b"\r\n\r\n", [431], b"max_header_bytes"),
    ("many headers", b"GET /healthz HTTP/1.1\r\n" + H + b"X: y\r\n" * 9000 + b"\r\n", [431], b"max_header_bytes"),
    ("long target", b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n" + H + b"\r\n", [431], b"max_header_bytes"),
    ("HTTP/1.0 without Host", b"GET /healthz HTTP/1.0\r\n\r\n", [200], b""),
    ("three pipelined", b"GET /healthz HTTP/1.1\r\n" + H + b"\r\n" + b"GET /healthz HTTP/1.1\r\n" + H + b"\r\n" + LAST, [200, 200, 200], b""),
]


def framing():
    for name, raw, want, word in FRAMING:
        s = connect()
        try:
            s.sendall(raw)
        except OSError:
            pass
        got = read_all(s)
        s.close()
        check(name, statuses(got) == want and word in got and is_json(got), repr(got[:300]))
    # The same split into single bytes: what is refused must not depend on packets.
    for name, raw, want, word in FRAMING:
        if len(raw) > 400:
            continue
        s = connect()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for i in range(len(raw)):
                s.sendall(raw[i : i + 1])
        except OSError:
            pass
        got = read_all(s)
        s.close()
        first = statuses(got)[:1]
        check("bytewise: " + name, (first == want[:1] and word in got) or (want[0] != 200 and got == b""), repr(got[:300]))


def slow(seconds):
    """One byte a second must not hold a connection past the deadline."""
    for name, raw in (
        ("slow headers", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1000),
        ("slow body", b"PUT /collections/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n" + b" " * 100),
    ):
        s = connect()
        s.sendall(raw[:60])
        s.settimeout(0.5)
        start, at, got = time.time(), 60, b""
        while time.time() - start < seconds + 6:
            try:
                piece = s.recv(4096)
                if not piece:
                    break
                got += piece
            except socket.timeout:
                pass
            except OSError:
                break
            try:
                s.sendall(raw[at : at + 1])
            except OSError:
                pass
            at += 1
        took = time.time() - start
        check(name, statuses(got) == [408] and b"request_timeout_s" in got and took < seconds + 3, f"{took:.1f} s {got!r}")
    s = connect()
    start = time.time()
    got = read_all(s)
    check("silent connection is closed", got == b"" and time.time() - start < 20)


def cap(n):
    """n connections are held; the ones over it are told 503, and serving goes on."""
    held = [connect() for _ in range(n)]
    for s in held:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")  # half a request
    over = [connect() for _ in range(5)]
    for s in over:
        s.settimeout(10)
        got = read_all(s)
        check("over the cap", statuses(got) == [503] and b"max_connections" in got and b"Retry-After" in got, repr(got))
    # More than the server takes in to tell them: the rest are told in their turn.
    silent = [connect() for _ in range(120)]
    got = [read_all(s) for s in silent]
    check("120 silent ones over the cap", all(statuses(g) == [503] for g in got), f"{sum(g == b'' for g in got)} without an answer")
    for s in silent:
        s.close()
    many = []
    for _ in range(3 * n):  # far over it: no accept storm, no death
        try:
            s = socket.create_connection(("127.0.0.1", PORT), timeout=1)
            many.append(s)
        except OSError:
            break
    for s in held + over + many:
        s.close()
    deadline = time.time() + 10
    ok = False
    while not ok and time.time() < deadline:
        try:
            s = socket.create_connection(("127.0.0.1", PORT), timeout=2)
            s.sendall(LAST)
            ok = statuses(read_all(s)) == [200]
            s.close()
        except OSError:
            time.sleep(0.1)
    check("serves again after a storm", ok)

    # Many short connections one after the other do not fill the table.
    bad = 0

    def short():
        nonlocal bad
        for _ in range(100):
            s = connect()
            s.sendall(LAST)
            bad += statuses(read_all(s)) != [200]
            s.close()

    threads = [threading.Thread(target=short) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("400 short connections", bad == 0, f"{bad} failed")


def descriptors(pid):
    """accept(2) fails for want of descriptors; with room again, serving goes on."""
    open_now = len(os.listdir(f"/proc/{pid}/fd"))
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 3, limits[1]))
    held = [connect() for _ in range(8)]
    time.sleep(0.5)
    check("alive without descriptors", os.path.exists(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for s in held:
        s.sendall(LAST)
        check("answers with room again", statuses(read_all(s)) == [200])
        s.close()


{"framing": framing, "slow": lambda: slow(int(sys.argv[3])), "cap": lambda: cap(int(sys.argv[3])),
 "descriptors": lambda: descriptors(int(sys.argv[3]))}[sys.argv[1]]()
sys.exit(1 if failed else 0)
