"""Embeddings by OpenAI's official client.   usage: openai_client.py URL KEY"""

import base64
import math
import struct
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)


def refused(kind, param, code, call, **named):
    try:
        call(**named)
    except kind as e:
        assert e.param == param and e.code == code and e.type, (e.param, e.code, e.type)
        assert e.response.headers["x-request-id"]
        return
    raise AssertionError(f"expected {kind}")


assert "static" in [m.id for m in client.models.list()]
assert client.models.retrieve("static").id == "static"

# The client asks for base64 by itself and decodes it.
one = client.embeddings.create(model="static", input="a text to embed")
floats = client.embeddings.create(model="static", input="a text to embed", encoding_format="float")
raw = client.embeddings.create(model="static", input="a text to embed", encoding_format="base64")
packed = base64.b64decode(raw.data[0].embedding)
assert packed == struct.pack(f"<{len(packed) // 4}f", *one.data[0].embedding)
assert packed == struct.pack(f"<{len(packed) // 4}f", *floats.data[0].embedding)
assert abs(math.fsum(x * x for x in one.data[0].embedding) - 1) < 1e-5
assert one.usage.prompt_tokens == one.usage.total_tokens > 2 and one.model == "static"

many = client.embeddings.create(model="static", input=["a text to embed", "another", "third"])
assert [d.index for d in many.data] == [0, 1, 2]
assert many.data[0].embedding == one.data[0].embedding != many.data[1].embedding
size = len(one.data[0].embedding)
same = client.embeddings.create(model="static", input="x", dimensions=size)
assert len(same.data[0].embedding) == size

create = client.embeddings.create
refused(openai.NotFoundError, "model", "model_not_found", create, model="gpt", input="x")
refused(openai.BadRequestError, "input", None, create, model="static", input="")
refused(openai.BadRequestError, "input", None, create, model="static", input=[])
refused(openai.BadRequestError, "input", "unsupported_input", create, model="static", input=[1, 2])
refused(openai.BadRequestError, "dimensions", None, create, model="static", input="x", dimensions=7)
refused(openai.BadRequestError, "input", None, create, model="static", input=["x"] * 2049)
refused(openai.AuthenticationError, None, "invalid_api_key",
        client.with_options(api_key="wrong").embeddings.create, model="static", input="x")
print("all flows work")
