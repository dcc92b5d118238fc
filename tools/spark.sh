#!/usr/bin/env bash
# spark.sh start|stop|status [OPTIONS]: a real Spark standalone cluster on loopback, below build/spark: Spark from the pyspark package,
# Java from the group `spark` of tools/packages.txt. Exit 3: something is missing and cannot be installed from here.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

usage='./dev spark start [--version 3.5|4] [--workers N] [--cores C] [--memory M] [--gpus G] [--auth] [--standby]
                  [--allow PATTERN] [--hide FOLDER] [--apart]
            stop | status                        all three: [--name NAME], for several clusters'

verb="${1:-}"
[[ $# -gt 0 ]] && shift
version=4
workers=2
cores=2
memory=1g
auth=false
standby=false
gpus=0   # of each worker, that its discovery script says to be there
allow='' # the application jars that the REST server takes; Spark 4.3
hide=''  # an empty folder to the workers and all that they start
apart=false # the workers are on a network of their own, behind one link
name=cluster
while [[ $# -gt 0 ]]; do
  case "$1" in
    --version | --workers | --cores | --memory | --gpus | --allow | --hide | --name)
      [[ $# -ge 2 ]] || die 2 "$1 needs a value." "$usage"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    --auth | --standby | --apart)
      printf -v "${1#--}" true
      shift
      ;;
    *) die 2 "./dev spark does not know '$1'." "$usage" ;;
  esac
done
[[ "$name" =~ ^[a-z0-9][a-z0-9.-]*$ ]] || die 2 "--name takes small letters, digits, dots and dashes."

root="$RAYX_ROOT/build/spark"
state="$root/$name"         # logs, process ids, the workers' folders
env_file="$root/$name.env"  # is there as long as the cluster can be used
# Every process of the cluster has it in its environment, also what Spark starts for its users.
mark="RAYX_SPARK_CLUSTER=$state"

# With --apart: a network namespace and the two ends of the link to it, of which names have at most 15 letters.
link="rx$(printf '%s' "$state" | cksum | cut -d' ' -f1)"
host=127.0.0.1        # where the masters are
worker_host=127.0.0.1 # and the workers

# One verb at a time for each cluster; what is started does not get the descriptor.
mkdir -p "$root"
exec 9>"$root/$name.lock"

running_pids() {
  { grep -lzsxF -- "$mark" /proc/[0-9]*/environ || true; } | sed -n 's|^/proc/\([0-9]*\)/environ$|\1|p'
}

# wait_until SECONDS QUESTION…: asks ten times a second; fails when the time is over.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.1
  done
}

nothing_runs() { [[ -z "$(running_pids)" ]]; }

# Workers end their drivers when they are told to end; what is left after that is killed.
stop_cluster() {
  rm -rf "$env_file" "$state"/{secret,*.pid,conf}
  end_processes
  ip netns delete "$link" 2>/dev/null || true # and with it the link
}

end_processes() {
  local pids
  mapfile -t pids < <(running_pids)
  [[ ${#pids[@]} -gt 0 ]] || return 0
  kill "${pids[@]}" 2>/dev/null || true
  wait_until 10 nothing_runs && return 0
  # New ones may have been started by those that end.
  kill_all() {
    mapfile -t pids < <(running_pids)
    [[ ${#pids[@]} -eq 0 ]] && return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    return 1
  }
  wait_until 10 kill_all || die 1 "these processes of the cluster do not end: ${pids[*]}"
}

# install_spark: build/spark/venv-VERSION with the package, and SPARK_HOME in it.
install_spark() {
  tools/setup.sh --group spark || exit $?
  command -v java >/dev/null || die 3 "there is no java in PATH, which Spark needs: version 17 or later for Spark 4."
  local venv="$root/venv-$version"
  (
    flock 8
    if [[ ! -f "$venv/.installed" ]]; then
      say "installing Spark $version (once; some minutes)"
      rm -rf "$venv"
      /usr/bin/env python3 -m venv "$venv" >"$venv.log" 2>&1 &&
        "$venv/bin/pip" install --quiet --no-input --no-deps --no-compile "pyspark==$version.*" >>"$venv.log" 2>&1 ||
        {
          tail -n 15 "$venv.log" >&2
          die 3 "pip could not install pyspark $version; its last lines are above, all of them in ${venv#"$RAYX_ROOT/"}.log."
        }
      touch "$venv/.installed"
    fi
  ) 8>"$venv.lock" || exit $?
  SPARK_HOME="$(echo "$venv"/lib/python3*/site-packages/pyspark)"
  [[ -x "$SPARK_HOME/bin/spark-class" ]] || die 1 "the pyspark package in ${venv#"$RAYX_ROOT/"} has no bin/spark-class."
}

# daemon NAME COMMAND…: starts it in a session of its own; its process id is in NAME.pid and in pids.
daemon() {
  local name="$1"
  shift
  # SPARK_LOCAL_IP: the web pages too are for this machine only. Small heaps: these only keep books.
  env -u SPARK_MASTER_HOST "$mark" SPARK_HOME="$SPARK_HOME" SPARK_CONF_DIR="$state/conf" SPARK_LOCAL_IP="${local_ip:-$host}" \
    SPARK_DAEMON_MEMORY=256m SPARK_DAEMON_JAVA_OPTS='-XX:+UseSerialGC -XX:TieredStopAtLevel=1' \
    setsid "$@" >"$state/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$state/$name.pid"
  pids+=($!)
}

# write_properties REST-PORT ZOOKEEPER-PORT
write_properties() {
  printf '%s\n' 'spark.master.rest.enabled true' "spark.master.rest.port $1" 'spark.port.maxRetries 0'
  if $standby; then
    printf '%s\n' 'spark.deploy.recoveryMode ZOOKEEPER' "spark.deploy.zookeeper.url 127.0.0.1:$2"
  fi
  if $auth; then
    printf '%s\n' 'spark.master.rest.filters org.apache.spark.ui.JWSFilter' \
      "spark.org.apache.spark.ui.JWSFilter.param.secretKey $(<"$state/secret")" \
      'spark.org.apache.spark.ui.JWSFilter.param.requireExpiration true'
  fi
  [[ -z "$allow" ]] || printf '%s\n' "spark.master.rest.allowedAppResourcePatterns $allow"
}

write_worker_properties() {
  [[ "$gpus" -gt 0 ]] || return 0
  printf "#!/bin/sh\necho '{\"name\": \"gpu\", \"addresses\": [%s]}'\n" "$(seq -s, 0 $((gpus - 1)) | sed 's/[0-9][0-9]*/"&"/g')" \
    >"$state/conf/gpus.sh"
  chmod +x "$state/conf/gpus.sh"
  printf '%s\n' "spark.worker.resource.gpu.amount $gpus" "spark.worker.resource.gpu.discoveryScript $state/conf/gpus.sh"
}

# in_a_bare_place COMMAND…: where the hidden folder is empty.
in_a_bare_place() {
  local how=(unshare --mount)
  "${how[@]}" true 2>/dev/null || how=(unshare --map-root-user --mount)
  "${how[@]}" true 2>/dev/null || die 1 "--hide needs mount namespaces, which this container forbids."
  daemon "$1" "${how[@]}" sh -c 'mount -t tmpfs none "$1" && shift && exec "$@"' sh "$hide" "${@:2}"
}

# lay_link: a network for the workers, with addresses that are set aside for tests of networks.
lay_link() {
  host=198.18.51.1 worker_host=198.18.51.2
  ip netns delete "$link" 2>/dev/null || true
  { ip netns add "$link" && ip link add "$link" type veth peer name link0 netns "$link" &&
    ip address add "$host/30" dev "$link" && ip link set "$link" up && ip -n "$link" link set lo up &&
    ip -n "$link" address add "$worker_host/30" dev link0 && ip -n "$link" link set link0 up; } ||
    die 1 "--apart needs network namespaces, which this container forbids, or another cluster is apart already."
}

# start_on ZOOKEEPER RPC REST WEB [RPC REST WEB]: 0 when all workers are there, 1 when a port was taken meanwhile.
start_on() {
  local zookeeper="$1" spark_class="$SPARK_HOME/bin/spark-class" pids=() i count=0 rpcs='' rests='' webs=''
  shift
  rm -rf "$state"
  mkdir -p "$state/conf"
  # The file has the secret, so that no command line has it.
  $auth && (umask 077 && /usr/bin/env python3 tools/spark_state.py secret >"$state/secret")
  # The masters agree through ZooKeeper, which is among Spark's jars, on who is active. Its session ends 4 s after a master's death.
  if $standby; then
    daemon zookeeper java -Xmx128m -Dzookeeper.admin.enableServer=false -Dzookeeper.4lw.commands.whitelist= \
      -cp "$SPARK_HOME/jars/*" org.apache.zookeeper.server.ZooKeeperServerMain "$zookeeper" "$state/zookeeper" 200
  fi
  while [[ $# -gt 0 ]]; do
    count=$((count + 1))
    (umask 077 && write_properties "$2" "$zookeeper" >"$state/conf/master-$count.properties")
    daemon "master-$count" "$spark_class" org.apache.spark.deploy.master.Master --host "$host" --port "$1" \
      --webui-port "$3" --properties-file "$state/conf/master-$count.properties"
    rpcs+=",$host:$1" rests+=",$host:$2" webs+=",$host:$3"
    shift 3
  done
  write_worker_properties >"$state/conf/worker.properties"
  local begin=daemon before=() local_ip="$worker_host"
  [[ -z "$hide" ]] || begin=in_a_bare_place
  $apart && before=(ip netns exec "$link")
  for ((i = 1; i <= workers; ++i)); do
    "$begin" "worker-$i" ${before[@]+"${before[@]}"} "$spark_class" org.apache.spark.deploy.worker.Worker --host "$worker_host" --port 0 --webui-port 0 \
      --properties-file "$state/conf/worker.properties" --cores "$cores" --memory "$memory" --work-dir "$state/work-$i" "spark://${rpcs#,}"
  done
  is_settled() {
    kill -0 "${pids[@]}" 2>/dev/null || return 0
    /usr/bin/env python3 tools/spark_state.py has-workers "http://${webs#,}" "$workers"
  }
  local is_in_time=true
  wait_until 90 is_settled || is_in_time=false
  if $is_in_time && kill -0 "${pids[@]}" 2>/dev/null; then
    cat >"$env_file.new" <<ENV
RAYX_SPARK_MASTER=spark://${rests#,}
RAYX_SPARK_WEB=http://${webs#,}
RAYX_SPARK_RPC=spark://${rpcs#,}
RAYX_SPARK_HOME=$SPARK_HOME
ENV
    $auth && echo "RAYX_SPARK_JWS_SECRET_FILE=$state/secret" >>"$env_file.new"
    $apart && echo "RAYX_SPARK_LINK=$link" >>"$env_file.new"
    mv "$env_file.new" "$env_file"
    return 0
  fi
  stop_cluster
  grep -qs 'BindException\|Address already in use' "$state"/*.log && return 1
  tail -n 15 "$state"/*.log >&2
  $is_in_time && die 1 "a process of the cluster ended; the ends of the logs are above, the whole of them in build/spark/$name/."
  die 1 "the workers did not register within 90 s; the ends of the logs are above, the whole of them in build/spark/$name/."
}

start() {
  [[ "$version" == 3.5 || "$version" == 4 ]] || die 2 "--version takes 3.5 or 4." "$usage"
  [[ "$workers" =~ ^[1-9][0-9]?$ && "$cores" =~ ^[1-9][0-9]*$ ]] || die 2 "--workers takes 1 to 99, --cores a number from 1 on." "$usage"
  [[ "$memory" =~ ^[1-9][0-9]*[mg]$ ]] || die 2 "--memory takes a number and m or g, as 512m." "$usage"
  [[ "$gpus" =~ ^[0-9]$ ]] || die 2 "--gpus takes 0 to 9." "$usage"
  [[ -z "$hide" || -d "$hide" ]] || die 2 "--hide takes a folder that is there; $hide is none."
  $auth && [[ "$version" == 3.5 ]] && die 2 "--auth needs --version 4: Spark 3.5 has no filter for its REST server."
  nothing_runs || die 1 "a cluster of this name runs already; './dev spark stop' ends it."
  install_spark
  ! $apart || lay_link
  local attempt ports port_count=4
  $standby && port_count=7
  for attempt in 1 2 3; do
    read -ra ports < <(/usr/bin/env python3 tools/spark_state.py free-ports "$port_count")
    if start_on "${ports[@]}"; then
      say "Spark $(basename "$(echo "$SPARK_HOME"/jars/spark-core_*.jar)" .jar | sed 's/.*-//') runs with $workers workers of $cores cores and $memory; build/spark/$name.env says where:"
      cat "$env_file"
      return 0
    fi
  done
  die 1 "a free port was taken by somebody else, $attempt times; try again."
}

case "$verb" in
  start)
    flock 9
    trap 'stop_cluster; exit 130' INT TERM
    start
    ;;
  stop)
    flock 9
    nothing_runs && say "no cluster of this name runs"
    stop_cluster
    ;;
  status)
    if [[ ! -f "$env_file" ]]; then
      say "no cluster runs; './dev spark start' makes one"
      exit 1
    fi
    cat "$env_file"
    # shellcheck source=/dev/null
    source "$env_file"
    exec /usr/bin/env python3 tools/spark_state.py show "$RAYX_SPARK_WEB"
    ;;
  *) die 2 "./dev spark does start, stop and status." "$usage" ;;
esac
