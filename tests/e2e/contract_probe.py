"""Answers of the main routes against the schemas of docs/openapi.yaml.

usage: contract_probe.py PORT OPENAPI.yaml
Each request's status must be one that the contract lists for it, with a schema, and the
answer must have the required keys and the types of that schema.
"""

import http.client
import json
import sys

import yaml

port, path = int(sys.argv[1]), sys.argv[2]
with open(path) as f:
    spec = yaml.safe_load(f)
C = "/collections/{collection}"
HAS_A = {"must": [{"key": "a", "match": {"value": 1}}]}
REQUESTS = [  # method, path of the contract, body, status
    ("GET", "/", None, 200),
    ("PUT", C, {"vectors": {"size": 4, "distance": "Cosine"}, "text_model": None}, 200),
    ("PUT", C, {"vectors": {"size": 0, "distance": "Cosine"}}, 400),
    ("GET", "/collections", None, 200),
    ("GET", C + "/exists", None, 200),
    ("PUT", C + "/points", {"points": [{"id": 1, "vector": [1, 0, 0, 0], "payload": {"a": 1}},
                                       {"id": "b", "vector": [0, 1, 0, 0]}]}, 200),
    ("PUT", C + "/points", {"points": [{"id": 1}]}, 400),
    ("PATCH", C, {"codes": {"binarizer": "untrained", "bits": 2}}, 200),
    ("PATCH", C, {"codes": {"binarizer": "untrained", "distance": "sdc"}}, 400),
    ("PATCH", C, {"codes": {"binarizer": "none"}}, 404),
    ("PATCH", C, {"codes": {"progressive": True}}, 200),
    ("PATCH", C, {"codes": {"progressive": False}}, 200),
    ("PUT", C + "/index", {"field_name": "a", "field_schema": "integer"}, 200),
    ("PUT", C + "/index", {"field_name": "a..b", "field_schema": "integer"}, 400),
    ("GET", C, None, 200),
    ("POST", C + "/points", {"ids": [1, "b"], "with_payload": True, "with_vector": True}, 200),
    ("POST", C + "/points/query", {"query": [1, 0, 0, 0], "with_payload": True, "with_vector": True}, 200),
    ("PUT", C + "/points", {"points": [{"id": 2, "vector": {"text": "a", "chunk": True}}]}, 400),
    ("POST", C + "/points/query", {"query": "none"}, 404),
    ("POST", C + "/points/query", {"query": [1, 0]}, 400),
    ("POST", C + "/points/query", {"query": [1, 0, 0, 0], "params": {"bits": 1}}, 200),
    ("POST", C + "/points/query", {"query": [1, 0, 0, 0], "params": {"bits": 3}}, 400),
    ("POST", C + "/points/query", {"query": {"recommend": {"positive": [1], "negative": ["b"]}}}, 200),
    ("POST", C + "/points/query", {"query": [1, 0, 0, 0], "filter": HAS_A}, 200),
    ("POST", C + "/points/query", {"query": [1, 0, 0, 0], "filter": {"must": 1}}, 400),
    ("POST", C + "/points/query/batch", {"searches": [{"query": 1}, {"query": [1, 0, 0, 0], "filter": HAS_A}]}, 200),
    ("POST", C + "/points/query/batch", {"searches": [{"query": 1, "limit": 0}]}, 400),
    ("POST", C + "/points/query/batch", {"searches": [{}] * 1001}, 413),
    ("POST", C + "/points/search", {"vector": [1, 0, 0, 0], "with_payload": True}, 200),
    ("POST", C + "/points/search", {"query": 1}, 400),
    ("POST", C + "/points/search/batch", {"searches": [{"vector": [1, 0, 0, 0], "filter": HAS_A}]}, 200),
    ("POST", C + "/points/search/batch", {"searches": [{}]}, 400),
    ("POST", C + "/points/recommend", {"positive": [1], "negative": ["b"]}, 200),
    ("POST", C + "/points/recommend", {"negative": [1]}, 400),
    ("POST", C + "/points/recommend", {"positive": [77]}, 404),
    ("POST", C + "/points/recommend/batch", {"searches": [{"positive": [1]}, {"positive": [1], "filter": HAS_A}]}, 200),
    ("POST", C + "/points/recommend/batch", {"searches": [{"positive": 1}]}, 400),
    ("POST", C + "/points/scroll", {"limit": 1, "with_vector": True}, 200),
    ("POST", C + "/points/scroll", {"filter": HAS_A}, 200),
    ("POST", C + "/points/scroll", {"limit": 0}, 400),
    ("POST", C + "/points/scroll", {"order_by": {"key": "a", "direction": "desc"}}, 200),
    ("POST", C + "/points/scroll", {"order_by": "b"}, 400),
    ("POST", C + "/recall", {}, 200),
    ("POST", C + "/recall", {"sample": 0}, 400),
    ("POST", C + "/recall", {"filter": HAS_A}, 501),
    ("POST", C + "/points/count", {}, 200),
    ("POST", C + "/points/count", {"filter": HAS_A}, 200),
    ("POST", C + "/points/count", {"filter": 1}, 400),
    ("DELETE", C + "/index/{field}", None, 200),
    ("POST", C + "/points/payload", {"payload": {"b": 1}, "points": [1]}, 200),
    ("POST", C + "/points/payload", {"points": [1]}, 400),
    ("PUT", C + "/points/payload", {"payload": {"a": 1}, "filter": HAS_A}, 200),
    ("PUT", C + "/points/payload", {"payload": 1, "points": [1]}, 400),
    ("POST", C + "/points/payload/delete", {"keys": ["b"], "points": [1]}, 200),
    ("POST", C + "/points/payload/clear", {"points": ["b"]}, 200),
    ("POST", C + "/points/payload/clear", {}, 400),
    ("POST", C + "/points/batch", {"operations": [{"clear_payload": {"points": ["b"]}},
                                                  {"delete": {"filter": {"must": [{"key": "c", "match": {"value": 1}}]}}}]}, 200),
    ("POST", C + "/points/batch", {"operations": [{}]}, 400),
    ("POST", C + "/points/delete", {"points": [1]}, 200),
    ("POST", C + "/points/delete", {"filter": HAS_A}, 200),
    ("POST", C + "/points/delete", {}, 400),
    ("DELETE", C, None, 200),
    ("PUT", C, {"vectors": {"distance": "Cosine"}, "text_model": "static"}, 200),
    ("PUT", C + "/points", {"points": [{"id": 2, "vector": {"text": "a cat", "chunk": True}}]}, 200),
    ("POST", C + "/points/query", {"query": {"text": "a cat"}}, 200),
    ("DELETE", C, None, 200),
    ("GET", C, None, 404),
    ("PUT", C + "/points", {"points": [{"id": 1, "vector": [1, 0, 0, 0]}]}, 404),
    ("GET", "/v1/models", None, 200),
    ("GET", "/v1/models/{model}", None, 200),
    ("POST", "/v1/embeddings", {"model": "static", "input": ["a", "b"]}, 200),
    ("POST", "/v1/embeddings", {"model": "static", "input": "a", "encoding_format": "base64"}, 200),
    ("POST", "/v1/embeddings", {"model": "static", "input": []}, 400),
    ("POST", "/v1/embeddings", {"model": "none", "input": "a"}, 404),
]
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}
checked = 0


def resolve(node):
    while "$ref" in node:
        at = spec
        for key in node["$ref"].removeprefix("#/").split("/"):
            at = at[key]
        node = at
    return node


def problems(value, schema, where):
    """Where the value is not what the schema says."""
    global checked
    schema = resolve(schema)
    checked += 1
    if value is None and schema.get("nullable"):
        return []
    if "oneOf" in schema:
        each = [problems(value, s, where) for s in schema["oneOf"]]
        return [] if [] in each else [f"{where}: none of {len(each)} forms"]
    if "type" in schema and not TYPES[schema["type"]](value):
        return [f"{where}: expected {schema['type']}, not {value!r:.80}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: expected one of {schema['enum']}, not {value!r:.80}"]
    found = []
    if isinstance(value, dict):
        found += [f"{where}: no '{key}'" for key in schema.get("required", []) if key not in value]
        for key, inner in schema.get("properties", {}).items():
            if key in value:
                found += problems(value[key], inner, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += problems(item, schema["items"], f"{where}[{i}]")
    return found


failed = 0
c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
for method, route, body, status in REQUESTS:
    c.request(method, route.format(collection="contract", model="static", field="a"), None if body is None else json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    found = [] if r.status == status else [f"expected {status}, not {r.status}: {answer}"]
    listed = spec["paths"][route][method.lower()]["responses"].get(str(r.status))
    content = resolve(listed or {}).get("content")
    if content:
        found += problems(answer, content["application/json"]["schema"], "answer")
    else:
        found.append(f"the contract has no schema for {r.status}")
    failed += bool(found)
    print(("FAIL  " if found else "ok    ") + f"{method} {route} {r.status}", *found)
print(f"{checked} values checked")
sys.exit(1 if failed or checked < 200 else 0)
