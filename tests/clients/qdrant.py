"""The flows of Qdrant's quick start and of its users' adapters, by the official client.

usage: qdrant.py URL [KEY]
"""

import base64
import math
import random
import sys
import uuid
import warnings

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

warnings.simplefilter("error")  # a version that does not match is a warning
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
url, key = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
client = QdrantClient(url=url, api_key=key, cloud_inference=True, timeout=30)
random.seed(1)


def vector(n=48):
    return [random.gauss(0, 1) for _ in range(n)]


def near(a, b, within):
    assert abs(a - b) < within, (a, b)


def refused(status, word, call, *args, **named):
    try:
        call(*args, **named)
    except UnexpectedResponse as e:
        assert e.status_code == status, (e.status_code, status, e)
        assert word in e.content.decode(), e.content
        return
    raise AssertionError(f"expected {status}")


def clean(name):
    client.delete_collection(name)
    assert not client.collection_exists(name)


# ---- collections ----
for name in ("c", "named", "quantized", "text", "e"):
    clean(name)
assert client.create_collection(
    "c", vectors_config=models.VectorParams(size=48, distance=models.Distance.COSINE))
assert client.collection_exists("c")
refused(409, "exists", client.create_collection, "c",
        vectors_config=models.VectorParams(size=48, distance=models.Distance.COSINE))
refused(501, "Manhattan", client.create_collection, "m",
        vectors_config=models.VectorParams(size=4, distance=models.Distance.MANHATTAN))
info = client.get_collection("c")
assert info.status == models.CollectionStatus.GREEN
assert info.config.params.vectors.size == 48
assert info.config.params.vectors.distance == models.Distance.COSINE
assert info.config.metadata["codes"]["bits"] == 4 and info.config.metadata["codes"]["dims"] == 64
assert [c.name for c in client.get_collections().collections] == ["c"]

assert client.update_collection("c", metadata={"codes": {"progressive": True}})
assert client.get_collection("c").config.metadata["codes"]["progressive"]
assert client.update_collection("c", metadata={"codes": {"progressive": False}})
assert not client.get_collection("c").config.metadata["codes"]["progressive"]
refused(501, "optimizers_config", client.update_collection, "c",
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=10000))

# ---- points ----
vectors = {i: vector() for i in range(1, 301)}
big, hex32, name = 2**64 - 1, uuid.uuid4().hex, "doc-abc"
result = client.upsert("c", wait=True, points=[
    models.PointStruct(id=i, vector=v, payload={"n": i, "tag": "x"}) for i, v in vectors.items()])
assert result.status == models.UpdateStatus.COMPLETED
extra = {big: vector(), hex32: vector(), name: vector()}
client.upsert("c", points=models.Batch(
    ids=list(extra), vectors=list(extra.values()), payloads=[{"n": 0}, {"n": -1}, {"n": 2**60 + 1}]))
client.upload_collection("c", vectors=[vector() for _ in range(50)],
                         ids=range(1000, 1050), payload=[{"n": i} for i in range(50)],
                         batch_size=16, wait=True)
assert client.count("c", exact=True).count == 353

records = client.retrieve("c", ids=[1, big, hex32, name, 999], with_payload=True, with_vectors=True)
assert [r.id for r in records] == [1, big, str(uuid.UUID(hex32)), name]
assert [r.payload["n"] for r in records] == [1, 0, -1, 2**60 + 1]
length = math.sqrt(sum(x * x for x in vectors[1]))
near(sum(a * b / length for a, b in zip(records[0].vector, vectors[1])), 1, 0.1)
assert client.retrieve("c", ids=[1], with_payload=["tag"])[0].payload == {"tag": "x"}

# ---- queries ----
hits = client.query_points("c", query=vectors[7], limit=5, with_payload=True).points
assert len(hits) == 5 and hits[0].id == 7 and hits[0].payload["n"] == 7
near(hits[0].score, 1, 0.05)
assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
assert client.query_points("c", query=models.NearestQuery(nearest=vectors[7]), limit=5,
                           with_payload=True).points == hits
assert client.query_points("c", query=vectors[7], limit=4, offset=1, with_payload=True).points == hits[1:]
assert all(h.score > 0.3 for h in client.query_points("c", query=vectors[7], score_threshold=0.3).points)
similar = client.query_points("c", query=7, limit=3, with_payload=False).points
assert len(similar) == 3 and 7 not in [h.id for h in similar] and similar[0].payload is None
assert client.query_points("c", query=big, limit=1, with_vectors=True).points[0].vector
assert client.query_points("c", query=hex32, limit=1).points
refused(404, "777777", client.query_points, "c", query=777777)
refused(400, "expected 48 dimensions", client.query_points, "c", query=[1.0, 2.0])
refused(404, "nope", client.query_points, "nope", query=[1.0])

# ---- codes ----
codes = client.get_collection("c").config.metadata["codes"]
n_bytes = codes["dims"] * codes["bits"] // 8
code = base64.b64encode(random.randbytes(n_bytes)).decode()
item = models.InferenceObject(object={"b64": code}, model="codes")
client.upsert("c", points=[models.PointStruct(id=5000, vector=item)])
found = client.query_points("c", query=item, limit=1).points[0]
assert found.id == 5000
refused(400, "b64", client.upsert, "c", points=[models.PointStruct(
    id=5001, vector=models.InferenceObject(object={"b64": code + "AAAA"}, model="codes"))])

# ---- deletion ----
assert client.delete("c", points_selector=[1, 2, big], wait=True).status == "completed"
client.delete("c", points_selector=models.PointIdsList(points=[hex32, name]))
assert client.retrieve("c", ids=[1, 2, big, hex32, name]) == []
assert client.count("c").count == 349

# ---- the empty name, as LangChain sends it; a name; quantization; text ----
client.create_collection("named", vectors_config={"": models.VectorParams(size=8, distance="Dot")})
client.upsert("named", points=[models.PointStruct(id=uuid.uuid4().hex, vector={"": vector(8)})])
assert client.query_points("named", query=vector(8), using="").points
clean("named")
client.create_collection("named", vectors_config={"body": models.VectorParams(size=8, distance="Euclid")})
client.upsert("named", points=[models.PointStruct(id=i, vector={"body": [float(i)] * 8}) for i in (1, 5)])
hits = client.query_points("named", query=[1.5] * 8, using="body", with_vectors=["body"]).points
assert [h.id for h in hits] == [1, 5] and hits[0].score < hits[1].score
assert len(hits[0].vector["body"]) == 8
client.create_collection("quantized", vectors_config=models.VectorParams(size=100, distance="Cosine"),
    quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig(
        encoding=models.BinaryQuantizationEncoding.TWO_BITS, always_ram=True)))
assert client.get_collection("quantized").config.metadata["codes"]["bits"] == 2

client.create_collection("text", metadata={"text_model": "static", "codes": {"bits": 2}},
    vectors_config=models.VectorParams(size=256, distance="Cosine"))
texts = {1: "edit photos and paint pictures", 2: "play music and listen to songs",
         3: "compile programs written in C"}
client.upsert("text", points=[models.PointStruct(
    id=i, vector=models.Document(text=t, model="static"), payload={"text": t})
    for i, t in texts.items()])
hits = client.query_points("text", query=models.Document(text="audio player", model="static"),
                           limit=1, with_payload=True).points
assert hits[0].id == 2, hits
assert client.get_collection("text").config.metadata["text_model"] == "static"
refused(404, "model", client.query_points, "text", query=models.Document(text="x", model="nope"))

for name in ("c", "named", "quantized", "text"):
    assert client.delete_collection(name)
print("all flows work")
