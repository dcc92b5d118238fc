#!/usr/bin/env bash
# check.sh [--quick] [WORD…]: everything that is held beside the tests themselves. Runs all steps, names each with its seconds,
# fails if one failed. --quick leaves out the second compiler and all suites but `core`; with words, only steps whose title has one.
set -uo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT" || exit 1

quick=false
words=()
for argument in "$@"; do
  case "$argument" in
    --quick) quick=true ;;
    -*) die 2 "./dev check does not know '$argument'; it takes --quick and words of the titles of its steps, such as TSan." ;;
    *) words+=("$argument") ;;
  esac
done

tools/setup.sh --group build --group test --group check || exit $?

clang=clang++-15
clang_format=clang-format-15
logs=build/check
mkdir -p "$logs"
launcher=()
command -v ccache >/dev/null && launcher=(ccache)
failed=()
ran=0

wanted() {
  local word
  [[ ${#words[@]} -eq 0 ]] && return 0
  for word in "${words[@]}"; do [[ "$1" == *"$word"* ]] && return 0; done
  return 1
}

# step TITLE COMMAND…: the command's output goes to a log and is shown only if it fails.
step() {
  local title="$1" log start_ms elapsed_ms
  shift
  wanted "$title" || return 0
  ran=$((ran + 1))
  log="$logs/${title//[^a-zA-Z0-9]/_}.log"
  start_ms="$(date +%s%3N)"
  printf 'check: %-44s ' "$title"
  if ("$@") >"$log" 2>&1 </dev/null; then
    elapsed_ms=$(($(date +%s%3N) - start_ms))
    printf 'ok      %d.%d s\n' $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100))
  else
    elapsed_ms=$(($(date +%s%3N) - start_ms))
    printf 'FAILED  %d.%d s\n' $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100))
    if [[ $(wc -l <"$log") -gt 80 ]]; then
      head -n 30 "$log"
      printf '  … the whole of it is in %s; what failed there: …\n' "$log"
      grep -A 12 -E ': Failure$|(ERROR|WARNING): [A-Za-z]+Sanitizer|runtime error:' "$log" | head -n 100
      printf '  … and its end: …\n'
      tail -n 50 "$log"
    else
      cat "$log"
    fi
    failed+=("$title")
  fi
}

format() {
  local files
  mapfile -t files < <(list_files '*.cc' '*.hpp')
  [[ ${#files[@]} -gt 0 ]] || die 1 "found no .cc or .hpp to look at; the check itself is broken."
  "$clang_format" --dry-run -Werror "${files[@]}"
}

# Each header is the only include of an otherwise empty file, as its first user sees it.
headers_alone() {
  local headers
  mapfile -t headers < <(list_files 'include/*.hpp' 'src/*.hpp')
  [[ ${#headers[@]} -gt 0 ]] || die 1 "found no header under include/ and src/; the check itself is broken."
  printf '%s\n' "${headers[@]}" | xargs -P "$RAYX_JOBS" -I '{}' sh -c '
    printf "#include \"%s\"\n" "$2" | "$1" -x c++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
      -march=x86-64-v2 -I. -Iinclude -Isrc - || { echo "rayx: $2 does not compile alone with $1"; exit 1; }' sh "$1" '{}'
}

# g++ finds some only where it optimizes; so it is the build that the tests run in, once more in a new folder: ccache repeats what the
# compiler said. Without debug_checks, as users build it: a variable that only a RAYX_DCHECK reads is a warning there.
warnings_of_gcc() {
  local said="$logs/said-by-gcc"
  rm -rf build/check-gcc
  configure_build check-gcc
  (compile_build check-gcc) >"$said" 2>&1 || { cat "$said"; return 1; }
  cat "$said"
  ! grep -q 'warning: ' "$said"
}
# clang warns of the same at -O0, in a third of the time.
warnings_of_clang() {
  export CXX="${launcher[*]:+ccache }$clang"
  configure_build check-clang -Dunity=on -Dunity_size=6 -Dwerror=true -Doptimization=0
  compile_build check-clang
}

# sanitized NAME SANITIZERS SUITES…: clang's runtimes; g++ 12's TSan and UBSan know less.
sanitized() {
  local name="$1" sanitizers="$2" run=()
  shift 2
  export CXX="${launcher[*]:+ccache }$clang"
  export ASAN_OPTIONS="${ASAN_OPTIONS:-strict_string_checks=1:detect_stack_use_after_return=1}"
  export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
  export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}"
  export ASAN_SYMBOLIZER_PATH TSAN_SYMBOLIZER_PATH
  ASAN_SYMBOLIZER_PATH="$(command -v llvm-symbolizer-15 || true)"
  TSAN_SYMBOLIZER_PATH="$ASAN_SYMBOLIZER_PATH"
  # Sanitized code is several times slower; meson's time-outs and the watchdog of tests/kit are stretched alike.
  export RAYX_TEST_TIMEOUT_S="${RAYX_TEST_TIMEOUT_S:-300}"
  if [[ "$sanitizers" == thread && "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ]]; then
    # clang 15's TSan cannot place its shadow when the kernel moves mappings by more than 28 bits.
    setarch -R true 2>/dev/null ||
      die 1 "TSan cannot run here: vm.mmap_rnd_bits is above 28 and this container forbids to switch randomization off." \
        "Run 'sysctl vm.mmap_rnd_bits=28' as root on the host, then try again."
    run=(setarch -R)
  fi
  # -g1: stacks with lines, at half the price of all that a debugger wants. Some files at a time: the headers are most of the work.
  configure_build "check-$name" -Dunity=on -Dunity_size=6 -Db_sanitize="$sanitizers" -Db_lundef=false -Ddebug_checks=true \
    -Doptimization=1 -Ddebug=false "-Dcpp_args=-fno-sanitize-recover=all -g1"
  ${run[@]+"${run[@]}"} tools/run_tests.sh "build/check-$name" --timeout-multiplier 3 "$@"
}

fuzz() {
  tools/run_tests.sh build/check-clang --suite fuzz
}

# Real processes too: workers and the fork server run with the same sanitizer.
suites=(--suite unit --suite examples --suite cluster --suite storm)
$quick && suites=(--suite core)

step 'format' format
step 'headers alone, g++' headers_alone g++
$quick || step 'headers alone, clang++-15' headers_alone "$clang"
step 'warnings are errors, g++' warnings_of_gcc
$quick || step 'warnings are errors, clang++-15' warnings_of_clang
$quick || step 'fuzzing, libFuzzer' fuzz
step "ASan and UBSan, ${suites[*]}" sanitized asan address,undefined "${suites[@]}"
step "TSan, ${suites[*]}" sanitized tsan thread "${suites[@]}"

storm() {
  RAYX_STORM_SECONDS=60 build/release/tests/storm/storm_test
}
$quick || step 'a storm of 60 s' storm

# longer NAME LIMIT_S VARIABLE=VALUE: a test of the release build that lasts as long as the variable says.
longer() {
  RAYX_TEST_TIMEOUT_S="$2" env "$3" tools/run_tests.sh build/release --no-rebuild --timeout-multiplier 10 "$1"
}
$quick || step 'chaos, 10 minutes' longer cluster_chaos 1500 RAYX_CHAOS_SECONDS=600
$quick || step 'a flood of handshakes, 60 s' longer cluster_crowds 400 RAYX_FLOOD_SECONDS=60

spark_3_5() {
  RAYX_SPARK_VERSION=3.5 tools/run_tests.sh build/release --no-rebuild --suite spark
}
$quick || step 'Spark 3.5' spark_3_5

spark_cut() {
  RAYX_SPARK_CUT=1 tools/run_tests.sh build/release --no-rebuild spark_cut
}
$quick || step 'Spark, and the network is cut' spark_cut

$quick || step 'Spark, the demos' tools/spark_demo.sh

# Other seeds than those of the tests, so that most of them are new.
cluster_seeds() {
  RAYX_CLUSTER_SEEDS=50000 RAYX_TEST_TIMEOUT_S=3000 build/release/tests/sim/cluster/cluster_sim --seed=10000 \
    --gtest_filter='ClusterSim.FindsNothing*'
}
$quick || step '50,000 clusters from seeds' cluster_seeds

# Each of these is a job with its nodes, programs and processes: some 20 ms.
relay_seeds() {
  RAYX_RELAY_SEEDS=50000 RAYX_TEST_TIMEOUT_S=3000 build/release/tests/sim/relays/relays_sim --seed=10000 \
    --gtest_filter='RelaySim.FindsNothing*'
}
$quick || step '50,000 jobs over several nodes from seeds' relay_seeds

[[ $ran -gt 0 ]] || die 2 "no step of ./dev check has one of these words in its title: ${words[*]}."
if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'check: %d failed: %s\n' "${#failed[@]}" "$(IFS=';'; echo "${failed[*]}")"
  exit 1
fi
echo 'check: all is well'
