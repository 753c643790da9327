#!/bin/bash
# Claim: OpenAI's official Python client, unmodified, gets embeddings as floats and as
# base64, lists models, and sees errors with code, param and type.
. "$(dirname "$0")/common.sh"
clients_python qdrant-client==1.20.0 openai==3.57.0
echo sesame >"$WORK/key"
start --api-key-file "$WORK/key"
check "openai" "$PYTHON" "$(dirname "$0")/openai_client.py" "$URL/v1" sesame
stop
finish
