#!/usr/bin/env python3
"""How long Ray on Spark takes to set up two nodes, on a real Spark 4 of two workers that this script starts and stops.

    ray_on_spark.py          with Ray's python; prints a line as the bench programs do
"""
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True

from real_spark import RealSpark  # noqa: E402

NODES = 2


def set_up(settings):
    home = pathlib.Path(settings["RAYX_SPARK_HOME"])
    sys.path[:0] = [str(home.parent), *map(str, (home / "python" / "lib").glob("py4j-*.zip"))]
    os.environ["SPARK_HOME"] = str(home)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"  # where it looks for its own program
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else its nodes do not find the token that its head made
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from pyspark.sql import SparkSession
    from ray.util.spark import setup_ray_cluster, shutdown_ray_cluster

    spark = (SparkSession.builder.master(settings["RAYX_SPARK_RPC"]).config("spark.executor.memory", "1g")
             .config("spark.executorEnv.PATH", os.environ["PATH"]).config("spark.driver.host", "127.0.0.1")
             .config("spark.ui.enabled", "false").getOrCreate())
    try:
        begin = time.monotonic()
        setup_ray_cluster(max_worker_nodes=NODES, num_cpus_worker_node=1, num_gpus_worker_node=0, memory_worker_node=300 << 20,
                          object_store_memory_worker_node=100 << 20, memory_head_node=300 << 20,
                          object_store_memory_head_node=100 << 20, include_dashboard=False, collect_log_to_path=None)
        seconds = time.monotonic() - begin
        shutdown_ray_cluster()
    finally:
        spark.stop()
    return seconds


def main():
    printed = os.dup(1)
    os.dup2(2, 1)  # Spark and Ray talk much
    with RealSpark("peer", NODES, "--cores", "1", "--memory", "2g") as spark:
        seconds = set_up(spark.settings)
    os.write(printed, (json.dumps({"case": "spark_up_5", "unit": "s", "value": seconds}) + "\n").encode())


main()
