"""The examples of Qdrant's documentation (filtering; points: scroll, count, delete; search:
batches, recommendations), by the official client.

usage: qdrant_filter.py URL
"""

import sys
import warnings
from datetime import datetime

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

warnings.simplefilter("error")
client = QdrantClient(url=sys.argv[1], timeout=30)
Filter, Field = models.Filter, models.FieldCondition
checked = 0


def collection(name, payloads):
    """Points 1, 2, ... with these payloads; each near its own direction."""
    client.delete_collection(name)
    client.create_collection(name, vectors_config=models.VectorParams(size=64, distance="Cosine"))
    client.upsert(name, points=[
        models.PointStruct(id=i, vector=direction(i), payload=p) for i, p in enumerate(payloads, 1)])


def direction(i):
    return [1.0 if d == i else 0.01 for d in range(64)]


def matches(name, expected, **lists):
    """The filter gives these ids, by scroll, count and query alike."""
    global checked
    f = Filter(**lists)
    points, offset = client.scroll(name, scroll_filter=f, limit=100)
    assert ([p.id for p in points], offset) == (expected, None), (lists, points, expected)
    assert client.count(name, count_filter=f, exact=True).count == len(expected)
    hits = client.query_points(name, query=direction(1), query_filter=f, limit=100).points
    assert sorted(h.id for h in hits) == expected, (lists, hits)
    checked += 1


def refused(status, word, call, *args, **named):
    global checked
    try:
        call(*args, **named)
    except UnexpectedResponse as e:
        assert e.status_code == status and word in e.content.decode(), e
        checked += 1
        return
    raise AssertionError(f"expected {status}")


def value(key, v):
    return Field(key=key, match=models.MatchValue(value=v))


# ---- clauses ----
collection("colours", [
    {"city": "London", "color": "green"}, {"city": "London", "color": "red"},
    {"city": "London", "color": "blue"}, {"city": "Berlin", "color": "red"},
    {"city": "Moscow", "color": "green"}, {"city": "Moscow", "color": "blue"}])
london, red = value("city", "London"), value("color", "red")
matches("colours", [2], must=[london, red])
matches("colours", [1, 2, 3, 4], should=[london, red])
matches("colours", [5, 6], must_not=[london, red])
matches("colours", [1, 3], must=[london], must_not=[red])
matches("colours", [1, 3, 4, 5, 6], must_not=[Filter(must=[london, red])])
matches("colours", [2], min_should=models.MinShould(conditions=[london, red], min_count=2))
matches("colours", [2, 3, 4, 6],
        must=[Field(key="color", match=models.MatchAny(any=["red", "blue"]))])
matches("colours", [1, 2, 3, 5, 6],
        must=[Field(key="city", match=models.MatchExcept(**{"except": ["Berlin", "Paris"]}))])
matches("colours", [2, 3], must=[models.HasIdCondition(has_id=[2, 3, 77])])
matches("colours", [1, 2, 3, 4, 5, 6])
matches("colours", [], must=[value("no such key", 1)])
matches("colours", [], must=[value("city", 1)])

# ---- nested keys ----
collection("countries", [
    {"country": {"name": "Germany", "cities": [
        {"name": "Berlin", "population": 3.7, "sightseeing": ["Brandenburg Gate", "Reichstag"]},
        {"name": "Munich", "population": 1.5, "sightseeing": ["Marienplatz", "Olympiapark"]}]}},
    {"country": {"name": "Japan", "cities": [
        {"name": "Tokyo", "population": 9.3, "sightseeing": ["Tokyo Tower", "Tokyo Skytree"]},
        {"name": "Osaka", "population": 2.7, "sightseeing": ["Osaka Castle", "Universal Studios Japan"]}]}}])
matches("countries", [1], should=[value("country.name", "Germany")])
matches("countries", [2], should=[Field(key="country.cities[].population", range=models.Range(gte=9.0))])
matches("countries", [2], should=[value("country.cities[].sightseeing", "Osaka Castle")])
matches("countries", [1], must=[value("country.cities[0].name", "Berlin")])

# ---- objects in arrays ----
collection("dinosaurs", [
    {"dinosaur": "t-rex", "diet": [{"food": "leaves", "likes": False}, {"food": "meat", "likes": True}]},
    {"dinosaur": "diplodocus", "diet": [{"food": "leaves", "likes": True}, {"food": "meat", "likes": False}]}])
meat, likes = value("food", "meat"), value("likes", True)
matches("dinosaurs", [1, 2], must=[value("diet[].food", "meat"), value("diet[].likes", True)])
nested = models.NestedCondition(nested=models.Nested(key="diet", filter=Filter(must=[meat, likes])))
matches("dinosaurs", [1], must=[nested])
matches("dinosaurs", [1], must=[nested, models.HasIdCondition(has_id=[1])])
matches("dinosaurs", [2], must_not=[nested])

# ---- values ----
collection("products", [
    {"name": "Product A", "price": 100.5, "comments": ["Very good!", "Excellent"], "reports": []},
    {"name": "Product B", "price": 450.0, "comments": ["meh", "expected more", "ok"], "reports": None},
    {"name": "Product C", "price": 451, "reports": ["late"]},
    {"name": "Good shoes, cheap", "price": "free", "comments": "one"}])
matches("products", [1, 2], must=[Field(key="price", range=models.Range(gt=None, gte=100.0, lt=None, lte=450.0))])
matches("products", [1], must=[Field(key="price", range=models.Range(lt=450.0))])
matches("products", [2], must=[Field(key="comments", values_count=models.ValuesCount(gt=2))])
matches("products", [1, 2, 4], must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="reports"))])
matches("products", [2], must=[models.IsNullCondition(is_null=models.PayloadField(key="reports"))])
matches("products", [4], must=[Field(key="name", match=models.MatchText(text="shoes, ch"))])

UUID = "550e8400-e29b-41d4-a716-446655440000"
client.set_payload("products", payload={"uuid": UUID, "date": "2023-02-08T10:49:00Z"}, points=[3])
matches("products", [3], must=[value("uuid", UUID)])
matches("products", [1, 2, 4], must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="date"))])

# ---- what is not served says so ----
for word, condition in (
        ("date", Field(key="date", range=models.DatetimeRange(gt=datetime(2023, 2, 8, 10, 49)))),
        ("geo_radius", Field(key="place", geo_radius=models.GeoRadius(
            center=models.GeoPoint(lon=13.4, lat=52.5), radius=1000.0))),
        ("geo_bounding_box", Field(key="place", geo_bounding_box=models.GeoBoundingBox(
            bottom_right=models.GeoPoint(lon=13.5, lat=52.4), top_left=models.GeoPoint(lon=13.4, lat=52.5)))),
        ("match.text", Field(key="name", match=models.MatchTextAny(text_any="good cheap"))),
        ("match.text", Field(key="name", match=models.MatchPhrase(phrase="Good shoes"))),
        ("has_vector", models.HasVectorCondition(has_vector="image"))):
    refused(501, word, client.scroll, "products", scroll_filter=Filter(must=[condition]))
refused(501, "'sample'", client.query_points, "products", query=models.SampleQuery(sample="random"))
refused(501, "'order_by'", client.query_points, "products", query=models.OrderByQuery(order_by="price"))

# ---- scroll ----
points, offset = client.scroll("colours", limit=4, with_payload=["color"], with_vectors=True)
assert [p.id for p in points] == [1, 2, 3, 4] and offset == 5
assert points[0].payload == {"color": "green"} and len(points[0].vector) == 64
points, offset = client.scroll("colours", limit=4, offset=offset, with_payload=False)
assert [p.id for p in points] == [5, 6] and offset is None and points[0].payload is None
points, offset = client.scroll("colours", scroll_filter=Filter(must=[london]), limit=1, offset=2)
assert [p.id for p in points] == [2] and offset == 3

# ---- scroll in an order ----
refused(400, "make one", client.scroll, "products", order_by="price")
client.create_payload_index("products", "price", field_schema="float", wait=True)
points, offset = client.scroll("products", limit=15, order_by="price")
assert [(p.id, p.order_value) for p in points] == [(1, 100.5), (2, 450.0), (3, 451)] and offset is None
points, offset = client.scroll("products", limit=2, with_payload=False, order_by=models.OrderBy(
    key="price", direction=models.Direction.DESC, start_from=450.5))
assert [(p.id, p.order_value, p.payload) for p in points] == [(2, 450.0, None), (1, 100.5, None)] and offset is None
points, _ = client.scroll("products", order_by=models.OrderBy(key="price", direction="asc", start_from=450),
                          scroll_filter=Filter(must_not=[models.HasIdCondition(has_id=[2])]))
assert [p.id for p in points] == [3]
refused(400, "offset", client.scroll, "products", order_by="price", offset=2)
refused(501, "dates", client.scroll, "products",
        order_by=models.OrderBy(key="price", start_from=datetime(2023, 2, 8)))

# ---- batches, recommendations ----
requests = [models.QueryRequest(query=direction(i), filter=Filter(must=[london]), limit=3) for i in (1, 2)]
requests += [models.QueryRequest(query=4, limit=2, with_payload=True)]
results = client.query_batch_points("colours", requests=requests)
assert [[h.id for h in r.points][:1] for r in results[:2]] == [[1], [2]]
assert all({h.id for h in r.points} == {1, 2, 3} for r in results[:2])
assert len(results[2].points) == 2 and results[2].points[0].payload["city"]
for request, result in zip(requests, results):
    alone = client.query_points("colours", query=request.query, query_filter=request.filter,
                                limit=request.limit, with_payload=request.with_payload or False)
    assert alone == result, (alone, result)
assert client.query_batch_points("colours", requests=[]) == []
liked = client.query_points("colours", query=models.RecommendQuery(recommend=models.RecommendInput(
    positive=[1, direction(3)], negative=[2], strategy=models.RecommendStrategy.AVERAGE_VECTOR)),
    query_filter=Filter(must=[london]), limit=3).points
assert [h.id for h in liked] == [3], liked  # points 1 and 2 are examples
refused(501, "average_vector", client.query_points, "colours", query=models.RecommendQuery(
    recommend=models.RecommendInput(positive=[1], strategy=models.RecommendStrategy.BEST_SCORE)))

# ---- deletion ----
client.delete("colours", points_selector=models.FilterSelector(filter=Filter(must=[red])))
matches("colours", [1, 3, 5, 6])
client.delete("colours", points_selector=Filter(must_not=[london]))
matches("colours", [1, 3])
client.delete("colours", points_selector=Filter(must=[value("no such key", 1)]))
matches("colours", [1, 3])
for name in ("colours", "countries", "dinosaurs", "products"):
    client.delete_collection(name)
print(f"{checked} filters and refusals")
sys.exit(0 if checked == 43 else 1)
