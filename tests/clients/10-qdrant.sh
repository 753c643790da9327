#!/bin/bash
# Claim: Qdrant's official Python client, unmodified, works for collections, upsert,
# retrieve, query (vector, text, code, id), delete, count and exists; and the examples of
# Qdrant's documentation for filters, scroll, batches, recommendations, payloads and their
# indexes.
. "$(dirname "$0")/common.sh"
clients_python qdrant-client==1.20.0 openai==3.57.0
start
check "qdrant-client" "$PYTHON" "$(dirname "$0")/qdrant.py" "$URL"
check "filters" "$PYTHON" "$(dirname "$0")/qdrant_filter.py" "$URL"
check "payloads" "$PYTHON" "$(dirname "$0")/qdrant_payload.py" "$URL"
stop
echo sesame >"$WORK/key"
start --api-key-file "$WORK/key"
check "qdrant-client with a key" "$PYTHON" "$(dirname "$0")/qdrant.py" "$URL" sesame
stop
finish
