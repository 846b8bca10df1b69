#!/usr/bin/env bash
# bad_input.sh IWSEG: every kind of bad input ends with exit code 2 and one sentence on stderr that names what is wrong,
# and leaves nothing half-written.
set -euo pipefail
iwseg=$(realpath "$1")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
folder=$(mktemp -d)
disk=""
trap '[ -z "$disk" ] || umount "$disk"; rm -rf "$folder"' EXIT
cd "$folder"
checked=0 failed=0

fail() {
    echo "FAILED $1" >&2
    failed=$((failed + 1))
}

# refuses WHAT PATTERN COMMAND...: exit code 2, one line on stderr that matches the pattern, no out/ and no parts.
refuses() {
    local what=$1 pattern=$2 code=0
    shift 2
    checked=$((checked + 1))
    "$@" > stdout.txt 2> stderr.txt || code=$?
    [ "$code" = 2 ] || fail "$what: exit code $code: $(cat stderr.txt)"
    [ "$(wc -l < stderr.txt)" = 1 ] || fail "$what: stderr is not one line: $(cat stderr.txt)"
    grep -qiE -- "$pattern" stderr.txt || fail "$what: /$pattern/ is not in: $(cat stderr.txt)"
    [ ! -e out ] || fail "$what: left $(find out)"
    [ -z "$(find . -name '*.part')" ] || fail "$what: left $(find . -name '*.part')"
    printf '%-34s %s\n' "$what" "$(cat stderr.txt)"
    rm -rf out
}

bytes_at() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }  # FILE OFFSET BYTES

"$iwseg" phantom --out data --cases 3 --size 32 > /dev/null
tiny=(--set "widths=[2,3,4,5]" --set patch=16 --set epochs=2 --set steps_per_epoch=2 --set "intensity=none")
"$iwseg" train --data data --out run "${tiny[@]}" > /dev/null
model=run/model.safetensors
scan=$(ls data/imagesTr/*_0000.nii.gz | head -1)
gunzip -c "$scan" > scan.nii
train_on() { echo "$iwseg" train --data "$1" --out out "${tiny[@]}"; }
predict=("$iwseg" predict --weights $model --out out --patch 16 --input)

# Files
refuses "missing file" "missing.nii.gz" "${predict[@]}" missing.nii.gz
refuses "missing dataset" "nowhere" $(train_on nowhere)
head -c 5000 /dev/urandom > noise.nii
refuses "not a NIfTI file" "noise.nii" "${predict[@]}" noise.nii
head -c $(($(stat -c %s "$scan") / 2)) "$scan" > short.nii.gz
refuses "truncated .nii.gz" "short.nii.gz" "${predict[@]}" short.nii.gz
head -c 3000 scan.nii > short.nii
refuses "header larger than the file" "short.nii" "${predict[@]}" short.nii
cp scan.nii flat.nii && bytes_at flat.nii 40 '\x02\x00' && bytes_at flat.nii 46 '\x01\x00'
refuses "2-D volume" "flat.nii" "${predict[@]}" flat.nii
cp scan.nii movie.nii && bytes_at movie.nii 40 '\x04\x00' && bytes_at movie.nii 48 '\x02\x00'
tail -c +353 scan.nii >> movie.nii
refuses "4-D volume" "movie.nii" "${predict[@]}" movie.nii
# As f32 (type 16, 32 bits), with a NaN as the first voxel.
cp scan.nii nan.nii && tail -c +353 scan.nii >> nan.nii
bytes_at nan.nii 70 '\x10\x00\x20\x00' && bytes_at nan.nii 352 '\x00\x00\xc0\x7f'
refuses "NaN in an image" "nan.nii.*(nan|finite)" "${predict[@]}" nan.nii

# Datasets
label=$(ls data/labelsTr/*.nii.gz | head -1)
cp -r data shifted && gunzip -c "$label" > label.nii && bytes_at label.nii 292 '\x00\x00\xc8\x42'
gzip -c label.nii > "shifted/labelsTr/$(basename "$label")"
split=(--set "split.train=[\"$(basename "$label" .nii.gz)\"]" --set "split.test=[\"$(basename "$(ls data/labelsTr/*.gz | tail -1)" .nii.gz)\"]")
refuses "image and label lie apart" "$(basename "$label")" $(train_on shifted) "${split[@]}"
"$iwseg" phantom --out larger --cases 3 --size 40 > /dev/null
cp -r data mixed && cp "larger/labelsTr/$(basename "$label")" mixed/labelsTr/
refuses "image and label of two shapes" "$(basename "$label")" $(train_on mixed) "${split[@]}"
cp -r data healthy
for file in healthy/labelsTr/*.gz; do
    gunzip -c "$file" > label.nii
    { head -c 352 label.nii; head -c $(($(stat -c %s label.nii) - 352)) /dev/zero; } | gzip > "$file"
done
refuses "no lesion anywhere" "lesion" $(train_on healthy)
cp -r data single
ls single/labelsTr/*.gz | tail -n +2 | xargs rm
ls single/imagesTr/*.gz | tail -n +2 | xargs rm
refuses "dataset with one case" "one" $(train_on single)
refuses "unknown case" "no case nobody" "$iwseg" predict --run run --data data --cases nobody --out out

# Folders that may not be read. Root may read everything, so the program is run as nobody where that can be done.
as_nobody=()
if [ "$(id -u)" = 0 ]; then
    as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chmod a+rwx . && chmod -R a+rX data run $model
fi
cp -r data locked && cp -r data closed
mkdir nobody && chmod 777 nobody
if "${as_nobody[@]}" "$iwseg" info > /dev/null 2>&1; then
    chmod 000 locked closed/imagesTr
    may_not() {  # WHAT PATTERN COMMAND...: as refuses, by one who is not root
        local what=$1 pattern=$2
        shift 2
        refuses "$what" "$pattern" "${as_nobody[@]}" "$@"
    }
    may_not "dataset folder of mode 000" "locked cannot be read: Permission denied" "$iwseg" train --data locked --out nobody/run
    may_not "imagesTr of mode 000" "closed/imagesTr.*Permission denied" "$iwseg" train --data closed --out nobody/run
    may_not "dataset of mode 000 (evaluate)" "locked.*Permission denied" "$iwseg" evaluate --data locked --predictions run --out nobody/e.json
    may_not "folder to write into (train)" "Permission denied" "$iwseg" train --data data --out closed/run
    chmod 700 locked closed/imagesTr
else
    echo "SKIPPED folders of mode 000: this is root, and the program cannot be run as anybody else here"
fi

# Names and lists
mkdir listed
list() { printf '{"modality": {"0": "CT"}, "labels": {"lesion": 1}, %s}' "$1" > listed/dataset.json; }
list '"training": [{"image": ".", "label": "a.nii.gz"}]'
refuses "image that names no file" 'lists "." as an image' $(train_on listed)
list '"training": {"image": "a.nii.gz"}'
refuses "training that is no list" '"training" as a list' $(train_on listed)
cp -r data latin && mv "latin/${scan#data/}" $'latin/imagesTr/caf\xe9_0000.nii.gz'
refuses "name that is not UTF-8" "caf.*not UTF-8" $(train_on latin)
refuses "name that is not UTF-8 (predict)" "caf.*not UTF-8" "${predict[@]}" latin/imagesTr

# Raw studies
refuses "raw folder missing" "nowhere" "$iwseg" prepare luna16 --raw nowhere --out out
mkdir -p raw/subset0 raw/seg-lungs-LUNA16 rawlits
refuses "raw folder without scans" "volume-N" "$iwseg" prepare lits --raw rawlits --out out
printf 'NDims = 3\nDimSize = 4 4\nElementType = MET_SHORT\nElementDataFile = a.raw\n' > raw/subset0/a.mhd
refuses "LUNA16 without annotations" "annotations.csv" "$iwseg" prepare luna16 --raw raw --out out
printf 'seriesuid,coordX,coordY,coordZ,diameter_mm\na,1,2,x,4\n' > raw/annotations.csv
refuses "annotations with a word" "line 2: coordZ" "$iwseg" prepare luna16 --raw raw --out out
printf 'seriesuid,coordX,coordY,coordZ,diameter_mm\n' > raw/annotations.csv
refuses "LUNA16 without lung masks" "seg-lungs-LUNA16" "$iwseg" prepare luna16 --raw raw --out out
cp raw/subset0/a.mhd raw/seg-lungs-LUNA16/
refuses "no scan can be prepared" "none of 1.*a.mhd" "$iwseg" prepare luna16 --raw raw --out out
refuses "excluded scan unknown" "exclude ab" "$iwseg" prepare luna16 --raw raw --out out --exclude ab
cp scan.nii rawlits/volume-7.nii && gunzip -c "$label" > rawlits/segmentation-7.nii
refuses "folder of another dataset" "another dataset" "$iwseg" prepare lits --raw rawlits --out data
refuses "folder not writable (prepare)" "data/dataset.json/x" "$iwseg" prepare lits --raw rawlits --out data/dataset.json/x
refuses "split of no name" "splits.json is missing" $(train_on data) --set split=holdout

# Configuration
refuses "unknown key" "did you mean learning_rate" $(train_on data) --set learnin_rate=0.1
refuses "wrong type" "batch.*whole number" $(train_on data) --set batch=two
refuses "patch not usable" "patch" $(train_on data) --set patch=20
refuses "unknown loss" "iwdl" $(train_on data) --set loss=iwdll
printf 'epochs = [\n' > broken.toml
refuses "broken TOML" "broken.toml, line" $(train_on data) --config broken.toml
refuses "missing config" "none.toml" $(train_on data) --config none.toml
refuses "usage" "data" "$iwseg" train --out out
refuses "unknown option" "frobnicate" "$iwseg" info --frobnicate
refuses "unknown device" "tpu" $(train_on data) --device tpu
if ! nvidia-smi > /dev/null 2>&1; then
    refuses "cuda without a GPU" "cuda" $(train_on data) --device cuda
fi

# Weights
printf 'widths = [2,3,4,6]\n' > other.toml
refuses "widths against other weights" "widths" "$iwseg" predict --weights $model --config other.toml --out out --input scan.nii
cp $model lying.safetensors && bytes_at lying.safetensors 0 '\xff\xff\xff\x7f\x00\x00\x00\x00'
refuses "lying header" "lying.safetensors" "$iwseg" predict --weights lying.safetensors --out out --input scan.nii
head -c $(($(stat -c %s $model) - 7)) $model > short.safetensors
refuses "truncated weights" "short.safetensors" "$iwseg" predict --weights short.safetensors --out out --input scan.nii
refuses "too few channels" "takes 1 \(CT\), one a channel" "$iwseg" predict --weights $model --out out --patch 16 --input scan.nii scan.nii

# Folders and the disk
refuses "run begun already" "resume" "$iwseg" train --data data --out run "${tiny[@]}"
refuses "another key on resume" "batch" "$iwseg" train --data data --out run --resume --set batch=3
exec 9> run/.lock && flock 9
refuses "run folder in use" "run.*in use" "$iwseg" train --data data --out run --resume
exec 9>&-
refuses "folder not writable (train)" "data/dataset.json/run" "$iwseg" train --data data --out data/dataset.json/run "${tiny[@]}"
refuses "folder not writable (predict)" "data/dataset.json/out" "$iwseg" predict --weights $model --input scan.nii --out data/dataset.json/out
refuses "file too large (predict)" "out/" bash -c "ulimit -f 4; $(printf '%q ' "${predict[@]}") scan.nii"
mkdir disk
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=48k none disk 2> /dev/null; then
    disk=$PWD/disk
else
    echo "no small disk can be mounted here; a limit on file sizes takes its place"
fi
limited=(bash -c "[ -n '$disk' ] || ulimit -f 16; exec \"\$@\"" limited)
refuses "disk full (train)" "disk/run" "${limited[@]}" "$iwseg" train --data data --out disk/run "${tiny[@]}"
[ -z "$(find disk -name 'step_*' -o -name model.safetensors)" ] || fail "disk full: left $(find disk)"

echo "$checked kinds of bad input, $failed not refused as they should"
[ "$failed" = 0 ]
