"""A small server of /v1/embeddings over onnxruntime, the peer of ours.

usage: onnx_server.py FOLDER FORM PORT THREADS

The plainest thing that is fast: uvicorn with httptools and uvloop, a bare ASGI
function, and a pool of as many threads as ours has, each running the session (which
lets go of Python's lock) on one text.
"""
import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import minilm_onnx
import uvicorn

FOLDER, FORM, PORT, THREADS = sys.argv[1:]
model = minilm_onnx.Model(FOLDER, FORM, 1)
pool = ThreadPoolExecutor(int(THREADS))


def answer(body):
    request = json.loads(body)
    texts = request["input"]
    texts = [texts] if isinstance(texts, str) else texts
    data = [{"object": "embedding", "index": i, "embedding": vector}
            for i, vector in enumerate(model.embed(texts).tolist())]
    return json.dumps({"object": "list", "data": data, "model": request["model"]}).encode()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    out = b"{}"
    if scope["path"] == "/v1/embeddings":
        out = await asyncio.get_running_loop().run_in_executor(pool, answer, body)
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(out))]})
    await send({"type": "http.response.body", "body": out})


uvicorn.run(app, host="127.0.0.1", port=int(PORT), log_level="warning", lifespan="off")
