#!/usr/bin/env bash
# experiments.sh IWSEG: a folder of experiments, run by two processes at once and by one that is killed at random moments
# and started again, ends with the same models, records and summary, byte for byte, as when it is left alone.
set -euo pipefail
iwseg=$(realpath "$1")
kills=${KILLS:-8}
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
RANDOM=$seed
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$iwseg" phantom --out data --cases 4 --size 32 --seed "$seed" > phantom.txt
mkdir configs
cat > configs/base.toml <<'END'
widths = [2, 3, 4, 5]
patch = 16
epochs = 3
steps_per_epoch = 6
checkpoint_every = 2
intensity = { window = [-200, 300] }
predict = { patch = 24, stride = 16 }
END
for loss in bce dl iwdl; do printf 'base = "base.toml"\nloss = "%s"\n' $loss > configs/$loss.toml; done

run=("$iwseg" run --data data --configs configs --device cpu --out)
kept() { (cd "$1" && sha256sum experiments.* froc*.svg */model.safetensors */records.json */predictions/*); }
now() { date +%s%N; }

# Processes of a run that was killed end by themselves, but not at once: what they are at is left to them.
finish() {
    for ((attempt = 0; attempt < 100; ++attempt)); do
        "${run[@]}" broken > broken.txt
        grep -q "Not finished" broken.txt || break
        sleep 0.1
    done
    diff <(kept whole) <(kept broken) >&2
}

start=$(now)
"${run[@]}" whole > whole.txt
span=$(( $(now) - start ))
grep -q "^iwdl " whole.txt
"${run[@]}" both --processes 2 > both.txt 2> errors.txt
diff <(kept whole) <(kept both) >&2

interrupted=0
for ((i = 0; interrupted < kills && i < 4 * kills; ++i)); do
    signal=$([ $((i % 2)) = 0 ] && echo KILL || echo INT)
    processes=$((1 + RANDOM % 2))
    "${run[@]}" broken --processes $processes > broken.txt 2> errors.txt &
    process=$!
    sleep "$(awk "BEGIN { print $span / 1e9 * 0.8 * $RANDOM / 32768 }")"
    kill -$signal $process 2> /dev/null || true
    code=0
    wait $process 2> /dev/null || code=$?
    case $signal:$code in
        KILL:137 | INT:130) interrupted=$((interrupted + 1)) ;;
        *:0)
            finish
            rm -rf broken ;;
        *)
            echo "$signal ended the experiments with exit code $code:" >&2
            cat errors.txt >&2
            exit 1 ;;
    esac
done
finish
echo "$interrupted interruptions: the same bytes as without"
[ "$interrupted" = "$kills" ]
