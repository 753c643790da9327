"""Payloads and their indexes by the official client: the examples of Qdrant's documentation
(payload: set, overwrite, delete keys, clear; indexing; batches of changes).

usage: qdrant_payload.py URL
"""

import sys
import warnings

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

warnings.simplefilter("error")
client = QdrantClient(url=sys.argv[1], timeout=30)
NAME = "payloads"
done = models.UpdateStatus.COMPLETED
checked = 0


def payloads(**expected):
    """Points 1, 2, ... have these payloads: p1=..., p2=..."""
    global checked
    points, _ = client.scroll(NAME, limit=100)
    got = {"p%d" % p.id: p.payload for p in points}
    for name, payload in expected.items():
        assert got[name] == payload, (name, got[name], payload)
    checked += 1


def found(key, value, expected):
    """A filter gives these ids; with an index of the key it reads no payload."""
    global checked
    f = models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])
    points, _ = client.scroll(NAME, scroll_filter=f, limit=100)
    assert [p.id for p in points] == expected, (key, value, [p.id for p in points])
    assert client.count(NAME, count_filter=f, exact=True).count == len(expected)
    checked += 1


def refused(status, call, *args, **kwargs):
    global checked
    try:
        call(*args, **kwargs)
    except UnexpectedResponse as e:
        assert e.status_code == status, (e.status_code, e.content)
        checked += 1
        return
    raise SystemExit("expected %d" % status)


def schema():
    return {k: (v.data_type.value, v.points)
            for k, v in client.get_collection(NAME).payload_schema.items()}


def by_colour(colour):
    return models.Filter(must=[models.FieldCondition(
        key="colour", match=models.MatchValue(value=colour))])


client.delete_collection(NAME)
client.create_collection(NAME, vectors_config=models.VectorParams(size=4, distance="Cosine"))
client.upsert(NAME, points=[
    models.PointStruct(id=1, vector=[1, 0, 0, 0], payload={"colour": "red", "n": 1}),
    models.PointStruct(id=2, vector=[0, 1, 0, 0], payload={"colour": "blue", "n": 2}),
    models.PointStruct(id=3, vector=[0, 0, 1, 0], payload={"colour": "red", "n": 3})])
before = client.retrieve(NAME, ids=[1, 2, 3], with_vectors=True, with_payload=False)

# ---- indexes ----
assert schema() == {}
assert client.create_payload_index(NAME, "colour", field_schema="keyword").status == done
assert client.create_payload_index(NAME, "n", field_schema=models.IntegerIndexParams(
    type="integer", lookup=True, range=True)).status == done
assert client.create_payload_index(
    NAME, "text", field_schema=models.PayloadSchemaType.TEXT).status == done
assert client.create_payload_index(NAME, "price", field_schema="float").status == done
assert client.create_payload_index(NAME, "sold", field_schema="bool").status == done
assert schema() == {"colour": ("keyword", 3), "n": ("integer", 3), "text": ("text", 0),
                    "price": ("float", 0), "sold": ("bool", 0)}, schema()
client.create_payload_index(NAME, "colour", field_schema="keyword")  # again: nothing to do
assert len(schema()) == 5
refused(501, client.create_payload_index, NAME, "where", field_schema="geo")
refused(501, client.create_payload_index, NAME, "when", field_schema="datetime")
refused(400, client.create_payload_index, NAME, "a..b", field_schema="keyword")
refused(404, client.create_payload_index, "no such collection", "a", field_schema="keyword")
found("colour", "red", [1, 3])
found("n", 2, [2])

# ---- set, overwrite, delete, clear ----
assert client.set_payload(NAME, payload={"sold": True, "n": 10}, points=[1, 2, 77]).status == done
payloads(p1={"colour": "red", "n": 10, "sold": True}, p2={"colour": "blue", "n": 10, "sold": True},
         p3={"colour": "red", "n": 3})
found("n", 10, [1, 2])
found("n", 1, [])
found("sold", True, [1, 2])
client.set_payload(NAME, payload={"inner": 1}, key="outer.deep", points=[3])
client.set_payload(NAME, payload={"more": 2}, key="outer.deep", points=[3])
payloads(p3={"colour": "red", "n": 3, "outer": {"deep": {"inner": 1, "more": 2}}})
client.set_payload(NAME, payload={"price": 2.5}, points=by_colour("red"))
assert schema()["price"] == ("float", 2)
client.overwrite_payload(NAME, payload={"colour": "green"}, points=[2])
payloads(p2={"colour": "green"})
found("colour", "blue", [])
found("colour", "green", [2])
found("n", 10, [1])
client.delete_payload(NAME, keys=["sold", "outer.deep.inner", "no such key"], points=[1, 3])
payloads(p1={"colour": "red", "n": 10, "price": 2.5},
         p3={"colour": "red", "n": 3, "price": 2.5, "outer": {"deep": {"more": 2}}})
found("sold", True, [])
client.delete_payload(NAME, keys=["n"], points=models.Filter(must_not=[
    models.FieldCondition(key="n", range=models.Range(gte=5))]))
found("n", 3, [])
found("n", 10, [1])
client.clear_payload(NAME, points_selector=[2])
payloads(p2={})
found("colour", "green", [])
client.clear_payload(NAME, points_selector=by_colour("red"))
payloads(p1={}, p2={}, p3={})
assert {k: n for k, (_, n) in schema().items()} == dict.fromkeys(
    ["colour", "n", "text", "price", "sold"], 0)

# ---- a batch ----
results = client.batch_update_points(NAME, update_operations=[
    models.UpsertOperation(upsert=models.PointsList(points=[
        models.PointStruct(id=4, vector=[0, 0, 0, 1], payload={"colour": "red"})])),
    models.SetPayloadOperation(set_payload=models.SetPayload(payload={"n": 7}, points=[1, 4])),
    models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(
        payload={"colour": "pink"}, filter=by_colour("red"))),
    models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["n"], points=[1])),
    models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[2])),
    models.DeleteOperation(delete=models.PointIdsList(points=[3]))])
assert [r.status for r in results] == [done] * 6, results
assert [r.operation_id for r in results] == sorted({r.operation_id for r in results}), results
payloads(p1={}, p2={}, p4={"colour": "pink"})
assert client.count(NAME, exact=True).count == 3
found("colour", "pink", [4])

# ---- codes are what they were ----
after = client.retrieve(NAME, ids=[1, 2], with_vectors=True, with_payload=False)
assert [p.vector for p in after] == [p.vector for p in before[:2]]

# ---- indexes go ----
assert client.delete_payload_index(NAME, "colour").status == done
client.delete_payload_index(NAME, "no such index")
assert sorted(schema()) == ["n", "price", "sold", "text"]
found("colour", "pink", [4])
client.delete_collection(NAME)
print(f"{checked} checks")
sys.exit(0 if checked == 25 else 1)
