#!/usr/bin/env bash
# signals.sh IWSEG: a training told to end (Ctrl-C, TERM, a closed terminal, SLURM's USR1) says so at once, saves, and goes
# on with --resume to the same bytes; again it ends at once; a reader that leaves a pipe ends nothing.
set -euo pipefail
iwseg=$(realpath "$1")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
folder=$(mktemp -d)
process=""
trap '[ -z "$process" ] || kill -KILL "$process" 2> /dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "FAILED $1" >&2
    cat errors.txt >&2
    exit 1
}

"$iwseg" phantom --out data --cases 3 --size 40 > /dev/null
train=("$iwseg" train --data data --set "widths=[2,3,4,5]" --set "patch=[24,16,16]" --set steps_per_epoch=60
       --set intensity=zscore --out)

# wait_for WHAT COMMAND...: until the command succeeds; the training must still be there.
wait_for() {
    local what=$1
    shift
    until "$@"; do
        kill -0 "$process" 2> /dev/null || fail "$what: the training has ended"
        sleep 0.01
    done
}
# start RUN ARGUMENTS...: in the background, up to its first step.
start() {
    "${before[@]}" "${train[@]}" "$@" > output.txt 2> errors.txt &
    process=$!
    wait_for "first step" test -s "$1/log.jsonl"
}
ended() {
    code=0
    wait "$process" 2> /dev/null || code=$?
    process=""
}
before=(env)

"${train[@]}" whole --set epochs=1 > /dev/null
for signal in INT TERM HUP USR1; do
    start "run_$signal" --set epochs=1000
    kill "-$signal" "$process"
    ended
    [ "$code" = 130 ] || fail "$signal: exit code $code, but 130 was expected"
    grep -qE '^iwseg: finishing step [0-9]+, then saving; again to stop at once$' errors.txt || fail "$signal: not answered"
    [ "$(grep -c finishing errors.txt)" = 1 ] || fail "$signal: answered more than once"
    grep -q "a checkpoint is saved" errors.txt || fail "$signal: not saved"
    steps=$(wc -l < "run_$signal/log.jsonl")
    [ -d "run_$signal/checkpoints/step_$steps" ] || fail "$signal: no checkpoint of step $steps"
    if [ "$steps" -lt 60 ]; then
        "${train[@]}" "run_$signal" --resume --set epochs=1 > /dev/null 2> errors.txt || fail "$signal: not resumed"
        # The metadata are the same too: epochs are back at 1.
        cmp whole/model.safetensors "run_$signal/model.safetensors"
    fi
    echo "$signal: saved after step $steps, and resumed"
done

# A step that lasts, so that the second signal finds it.
long=(--set "widths=[8,16,32,64]" --set patch=96 --set epochs=1000)
start again "${long[@]}"
kill -TERM "$process"
wait_for "first signal" grep -q finishing errors.txt
kill -TERM "$process"
ended
[ "$code" = 143 ] || fail "a second TERM: exit code $code, but the signal's 143 was expected"
start both "${long[@]}"
kill -USR1 "$process"
wait_for "USR1" grep -q finishing errors.txt
kill -USR1 "$process"
kill -HUP "$process"
kill -TERM "$process"
ended
[ "$code" = 130 ] || fail "TERM after USR1, as SLURM sends them: exit code $code, but 130 was expected"
echo "again: killed; TERM after USR1: saved"

before=(nohup)
start hangup --set epochs=1000
steps=$(wc -l < hangup/log.jsonl)
kill -HUP "$process"
wait_for "steps after HUP" bash -c "[ \$(wc -l < hangup/log.jsonl) -gt $((steps + 2)) ]"
kill -TERM "$process"
ended
grep -q finishing errors.txt || fail "TERM under nohup"
echo "nohup: goes on after HUP"

# Readers that leave: before the first line, and after it; stderr too. Outputs closed from the start.
for reader in true "head -1"; do
    { code=0; "${train[@]}" "pipe_${reader%% *}" --set epochs=1 2>&1 || code=$?; echo $code > code.txt; } | $reader > /dev/null
    [ "$(cat code.txt)" = 0 ] || fail "a pipe to $reader: exit code $(cat code.txt)"
    cmp whole/model.safetensors "pipe_${reader%% *}/model.safetensors"
done
"${train[@]}" closed --set epochs=1 >&- 2>&- || fail "closed outputs: exit code $?"
cmp whole/model.safetensors closed/model.safetensors
if [ -w /dev/full ]; then
    code=0
    "$iwseg" info > /dev/full 2> errors.txt || code=$?
    [ "$code" = 1 ] && grep -q "standard output" errors.txt || fail "a full output: exit code $code"
fi
echo "pipes: the training ends well without a reader"

# Ctrl-C goes to every process of the terminal's group, and is passed on by the parent: experiments save all the same.
mkdir configs
for loss in dl bce; do
    printf 'loss = "%s"\nwidths = [2,3,4,5]\npatch = 16\nepochs = 1000\nsteps_per_epoch = 50\n' $loss > configs/$loss.toml
done
setsid "$iwseg" run --data data --configs configs --out study --processes 2 > output.txt 2> errors.txt &
process=$!
for loss in dl bce; do wait_for "experiments" test -s study/$loss/log.jsonl; done
kill -INT -- "-$process"
ended
[ "$code" = 130 ] || fail "experiments: exit code $code, but 130 was expected"
for loss in dl bce; do
    ls study/$loss/checkpoints | grep -q step_ || fail "experiments: $loss has no checkpoint"
done
echo "experiments: Ctrl-C is passed on once, and each saves"
