#!/bin/sh
# Runs fuzz targets for a while, two at a time, and says what came out.
#
# usage: tests/fuzz/run.sh SECONDS [TARGET...]      without targets, all of them
#
# Works in build-fuzz/: corpus/ keeps what libFuzzer learns from run to run, findings/ the inputs
# that broke something, NAME.log its last words. Ends non-zero if there was a finding.
set -eu
cd "$(dirname "$0")/../.."

case ${1:-} in
'' | *[!0-9]*)
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
	;;
esac

# One target, in a process of its own: the script calls itself for each.
fuzz_one() {
	seconds=$1 name=$2
	out=build-fuzz/fuzz
	log=$out/$name.log
	mkdir -p "$out/corpus/$name" "$out/findings"
	dict=
	if [ -f "tests/fuzz/$name.dict" ]; then dict=-dict=tests/fuzz/$name.dict; fi
	result=clean
	# libFuzzer writes to the first corpus and only reads the second. A fault that UBSan would
	# survive must end the run, or nobody sees it.
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "build-fuzz/tests/fuzz/fuzz_$name" \
		-max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=4096 \
		-print_final_stats=1 -artifact_prefix="$out/findings/$name-" ${dict:+"$dict"} \
		"$out/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1 || result=FINDING
	awk -v name="$name" -v result="$result" -v log_file="$log" '
		/^stat::number_of_executed_units/ { runs = $2 }
		/^stat::average_exec_per_sec/ { speed = $2 }
		/ cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
		END {
			printf "%-10s %12d executions %9d exec/s %6d cov  %s%s\n", name, runs, speed, cov,
				result, result == "clean" ? "" : ", see " log_file
		}' "$log"
	[ "$result" = clean ]
}

if [ "${FUZZ_ONE:-}" ]; then
	fuzz_one "$1" "$2"
	exit
fi

seconds=$1
shift
if [ $# -eq 0 ]; then
	for source in tests/fuzz/fuzz_*.c; do
		name=${source##*/fuzz_}
		set -- "$@" "${name%.c}"
	done
fi
if [ ! -f build-fuzz/build.ninja ]; then
	CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
		--buildtype=debugoptimized >&2
fi
for name; do printf 'tests/fuzz/fuzz_%s\n' "$name"; done | xargs ninja -C build-fuzz -j2 >&2
for name; do printf '%s\n' "$name"; done | FUZZ_ONE=1 xargs -P2 -I NAME "$0" "$seconds" NAME
