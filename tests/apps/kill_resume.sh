#!/usr/bin/env bash
# kill_resume.sh IWSEG: a training killed (kill -9 and Ctrl-C in turn) at twenty random moments and resumed ends with the
# same models (the last and the best on validation scans), the same rule of masks, byte for byte, and the same losses and
# validation scores as one left alone.
set -euo pipefail
iwseg=$(realpath "$1")
kills=${KILLS:-20}
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
RANDOM=$seed
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$iwseg" phantom --out data --cases 4 --size 40 --seed "$seed" > phantom.txt
cat > tiny.toml <<'END'
widths = [2, 3, 4, 5]
patch = [24, 16, 16]
epochs = 6
steps_per_epoch = 10
lr_schedule = [[3, 0.1]]
checkpoint_every = 3
workers = 2
intensity = { window = [-200, 300] }
augment = { flip = true, rotate = true }
predict = { patch = 40, stride = 32 }
split = { train = ["phantom_000", "phantom_001"], validation = ["phantom_002"], test = ["phantom_003"] }
validate_every = 7
validate_share = 1
END

train=("$iwseg" train --data data --config tiny.toml --resume --out)
# Lines of passes are compact: "seconds":0.01 at their end.
losses() { sed -E 's/"seconds": [^,]*, "wait": [^,]*, //; s/"seconds":[^},]*//' "$1"; }
require_same() {
    for file in model.safetensors best.safetensors; do cmp whole/$file broken/$file; done
    # Where such a short training finds no lesion at all, there is no rule of masks.
    if [ -e whole/operating_point.json ] || [ -e broken/operating_point.json ]; then
        cmp whole/operating_point.json broken/operating_point.json
    fi
    cmp <(losses whole/log.jsonl) <(losses broken/log.jsonl)
}
now() { date +%s%N; }

start=$(now)
"${train[@]}" whole > whole.txt
[ "$(grep -c validation whole/log.jsonl)" = 9 ]  # after 7, 14, ... 56 steps and the last
span=$(( $(now) - start ))

interrupted=0 ended=0
for ((i = 0; interrupted < kills && i < 4 * kills; ++i)); do
    signal=$([ $((i % 2)) = 0 ] && echo KILL || echo INT)
    "${train[@]}" broken > broken.txt 2> errors.txt &
    process=$!
    # From before the run folder exists to well into the steps.
    sleep "$(awk "BEGIN { print $span / 1e9 * 0.7 * $RANDOM / 32768 }")"
    kill -$signal $process 2> /dev/null || true
    code=0
    wait $process 2> /dev/null || code=$?
    case $signal:$code in
        KILL:137 | INT:130) interrupted=$((interrupted + 1)) ;;
        *:0)  # it was faster than the signal
            require_same
            rm -rf broken
            ended=$((ended + 1)) ;;
        *)
            echo "$signal ended training with exit code $code:" >&2
            cat errors.txt >&2
            exit 1 ;;
    esac
done
"${train[@]}" broken > broken.txt
require_same
"${train[@]}" broken | grep -q "trained already"
if ls broken/checkpoints | grep -q part; then echo "a torn checkpoint was left" >&2; exit 1; fi
echo "$interrupted interruptions, $ended times the training ended first: the same bytes each time"
[ "$interrupted" = "$kills" ]
