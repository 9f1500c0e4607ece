#!/usr/bin/env bash
# Everything that wants a GPU, in one call: train the shipped recipe, save it in half precision, score it, time the
# paper's sizes. Usage: benchmarks/gpu.sh DATA OUT [training overrides, such as --autoencoder.steps 30000]
set -euo pipefail
data=$1 out=$2
shift 2
export PYTHONPATH="$(cd "$(dirname "$0")/.." && pwd)/src${PYTHONPATH:+:$PYTHONPATH}"
here=$(dirname "$0")
mkdir -p "$out"

python -m longtake train glober_weizmann_64 --data "$data" --out "$out/run" --resume --device cuda \
    --frame-vae.precision bf16 --autoencoder.precision bf16 --generator.precision bf16 \
    --frame-vae.steps 6000 --autoencoder.steps 20000 --autoencoder.batch-size 16 --generator.steps 10000 \
    --frame-vae.checkpoint-every 1000 --autoencoder.checkpoint-every 2000 --generator.checkpoint-every 2000 \
    --frame-vae.sample-every 2000 --autoencoder.sample-every 5000 --generator.sample-every 5000 "$@"
python "$here/ship.py" "$out/run" "$out/glober-weizmann" \
    --description "people who bend, jump or wave, 64x64, 64 frames of real time"
python "$here/action_quality.py" "$out/glober-weizmann" --data "$data" --sheet "$out/samples.png" | tee "$out/quality.json"
for dtype in fp32 bf16; do
    python "$here/glober_speed.py" paper --frames 16 64 1024 --dtype $dtype | tee "$out/speed-$dtype.json"
done
python "$here/glober_speed.py" paper --frames 16 64 1024 --dtype bf16 --compile | tee "$out/speed-bf16-compiled.json"
python "$here/glober_speed.py" "$out/glober-weizmann" --frames 16 64 1024 | tee "$out/speed-small.json"
