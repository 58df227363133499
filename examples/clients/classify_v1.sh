#!/bin/sh
# Classifies one real digit with curl over the V1 protocol of KServe and TensorFlow Serving.
#
#     examples/clients/classify_v1.sh [http://localhost:8000]
set -eu
url=${1:-http://localhost:8000}
curl --silent --show-error --fail-with-body "$url/v1/models/digits:predict" --data-binary @- <<'BODY'
{"instances": [[[
    [0, 0, 5, 13, 16, 16, 6, 0],
    [0, 0, 12, 6, 4, 13, 9, 0],
    [0, 0, 0, 0, 1, 15, 3, 0],
    [0, 0, 0, 2, 10, 13, 2, 0],
    [0, 2, 12, 16, 16, 12, 5, 0],
    [0, 1, 6, 9, 11, 0, 0, 0],
    [0, 0, 0, 15, 1, 0, 0, 0],
    [0, 0, 6, 11, 0, 0, 0, 0]
]]]}
BODY
echo
