#!/usr/bin/env bash
# spark_demo.sh [--local] [OPTIONS of ./dev spark start]: starts a real Spark cluster on this machine, runs the four demos of
# examples/spark_*.cc on it, and stops it. --local: without Spark, on nodes that are processes of this machine.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

nodes=3
demos=(spark_getting_started spark_validation spark_parallel_processing spark_hyperparameter_tuning)
local=false
if [[ "${1:-}" == --local ]]; then
  local=true
  shift
fi

tools/setup.sh --group build --group test
digits="$(tools/digits.sh)"
configure_build release
compile_build release "${demos[@]/#/examples/}"

if ! $local; then
  stop() { tools/spark.sh stop --name demo >/dev/null; }
  trap stop EXIT
  stop
  tools/spark.sh start --name demo --workers "$nodes" --cores 1 --memory 1g "$@"
  set -a
  source build/spark/demo.env
  set +a
fi

for demo in "${demos[@]}"; do
  echo
  say "$demo"
  case "$demo" in
    spark_hyperparameter_tuning) "build/release/examples/$demo" "$nodes" "$digits" ;;
    *) "build/release/examples/$demo" "$nodes" ;;
  esac
done
echo
say "all four demos have run, and their clusters are given back"
