#!/bin/sh
# Classifies one real digit with curl.
#
#     examples/clients/classify.sh [http://localhost:8000]
set -eu
url=${1:-http://localhost:8000}
request=$(dirname "$0")/../models/digits/request.json
curl --silent --show-error --fail-with-body "$url/v2/models/digits/infer" \
    --header 'content-type: application/json' --data-binary "@$request"
echo
