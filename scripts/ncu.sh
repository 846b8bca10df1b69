#!/usr/bin/env bash
# One kernel under Nsight Compute, and what limits it as one table: time, bandwidth, sectors a request, bank conflicts,
# active lanes, occupancy, registers, tensor cores. Arguments are those of `iwseg kernel`:
#   scripts/ncu.sh batch_norm_backward --shape 2 16 128 128 128 --dtype bf16
#   scripts/ncu.sh convolution_forward --shape 2 16 128 128 128 --dtype bf16 --variant list    names a convolution's engines
#   scripts/ncu.sh convolution_forward --shape 2 16 128 128 128 --dtype bf16 --variant 3       one of them
# IWSEG names the program (default build/bundle/bin/iwseg, else build/release/bin/iwseg).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# -eq 0 || $1 == -* ]]; then
    echo "usage: scripts/ncu.sh KERNEL [option of iwseg kernel]..." >&2
    exit 2
fi
iwseg=${IWSEG:-}
for candidate in build/bundle/bin/iwseg build/release/bin/iwseg; do
    [[ -n $iwseg || ! -x $candidate ]] || iwseg=$candidate
done
[[ -x $iwseg ]] || { echo "iwseg is not built: scripts/gpu.sh bundle" >&2; exit 2; }
# A list launches nothing that could be profiled.
[[ " $* " != *" --variant list "* && " $* " != *" --variant=list "* ]] || exec "$iwseg" kernel "$@" --device cuda
if ! command -v ncu >/dev/null; then
    echo "Nsight Compute (ncu) is not installed" >&2
    exit 77
fi

# Name of the column, the profiler's metric.
metrics="us gpu__time_duration.sum
DRAM-MB dram__bytes.sum
DRAM-% dram__throughput.avg.pct_of_peak_sustained_elapsed
SM-% sm__throughput.avg.pct_of_peak_sustained_elapsed
sectors/ld l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio
sectors/st l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio
conflicts l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum
lanes smsp__thread_inst_executed_per_inst_executed.ratio
warps-% sm__warps_active.avg.pct_of_peak_sustained_active
registers launch__registers_per_thread
tensor-% sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
# Launched once, inside the range that is named as the kernel; what prepares it is outside.
ncu --nvtx --nvtx-include "$1/" --csv --page raw --print-units base \
    --metrics "$(awk '{print $2}' <<<"$metrics" | paste -sd,)" "$iwseg" kernel "$@" --device cuda --launches 1 >"$report" || {
    cat "$report" >&2
    exit 1
}
METRICS=$metrics python3 - "$report" <<'PYTHON'
import csv, os, re, sys
lines = [l for l in open(sys.argv[1], errors="replace") if l.startswith('"')]
rows = list(csv.DictReader(lines))
columns = [line.split() for line in os.environ["METRICS"].splitlines()]
scale = {"us": 1e-3, "DRAM-MB": 1e-6}  # of nanoseconds and bytes
print(" ".join(f"{name:>10}" for name, _ in columns) + "  kernel")
for row in rows[1:]:  # the first row holds the units
    cells = []
    for name, metric in columns:
        try:
            cells.append(f"{float(row[metric].replace(',', '')) * scale.get(name, 1):10.1f}")
        except (KeyError, ValueError):
            cells.append(f"{'-':>10}")
    kernel = re.sub(r"\(.*", "", row.get("Kernel Name", "?"))
    print(" ".join(cells) + "  " + kernel[:60])
if len(rows) < 2:
    sys.exit("the profiler saw no kernel in the range")
PYTHON
