"""What each case is measured against: one row for a case, read by bench/run. docs/bench.md says what the cases do."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    case: str
    unit: str
    better: str  # "less" or "more"
    bound: float | None = None  # "reach now", in `unit`
    limit: str | None = None  # of the limits program, run just before the case; None: see `own_limit` and `fixed_limit`
    limit_scale: float = 1.0  # the limit in the unit of the case
    limit_nominal: float | None = None  # the limit for which `bound` was set, in `unit`: gives the multiple to reach
    multiple: float | None = None  # to reach, where it was set as a multiple and not as a figure
    own_limit: bool = False  # the case measures its limit in its own process, between its rounds
    fixed_limit: float | None = None  # follows from the definition of the case
    part_of: str | None = None  # is reported by that case
    program: str = "cases"
    limit_program: str = "machine_limits"
    on_spark: bool = False  # bench/run starts a real Spark cluster for it
    timeout_s: int = 20  # for one start

    def multiple_bound(self):
        if self.multiple is not None:
            return self.multiple
        if self.bound is not None and self.limit_nominal:
            return self.bound / self.limit_nominal
        return None

    def is_met(self, value, limit):
        """None where nothing was set. Within the figure, or within the same multiple of this run's limit."""
        multiple_bound = self.multiple_bound()
        verdicts = []
        if self.bound is not None:
            verdicts.append(value <= self.bound if self.better == "less" else value >= self.bound)
        if multiple_bound is not None and limit:
            multiple = value / limit
            verdicts.append(multiple <= multiple_bound if self.better == "less" else multiple >= multiple_bound)
        return any(verdicts) if verdicts else None


# A round trip of 0.15 us is the machine for which the figures were set.
TRIP = {"limit": "limit_ping_pong", "limit_nominal": 0.15}
RATE = {"limit": "limit_ping_pong_rate", "limit_nominal": 1e6 / 0.15}

TARGETS = [
    Target("task_sync", "us", "less", 1.0, **TRIP),
    Target("task_async_1k", "1/s", "more", 3e6, **RATE),
    Target("actor_sync", "us", "less", 1.0, **TRIP),
    Target("actor_async_1k", "1/s", "more", 3e6, **RATE),
    Target("task_chain_100", "1/s", "more", 2e6, **RATE),
    Target("put_small", "ns", "less", 50, limit="limit_record_put", limit_nominal=3.0),
    Target("get_ready", "ns", "less", 30, limit="limit_record_get", limit_nominal=2.0),
    Target("put_100MiB", "GiB/s", "more", multiple=0.95, own_limit=True),
    Target("put_in_place", "us", "less", 5),
    Target("get_100MiB", "us", "less", 5),
    Target("read_100MiB", "GiB/s", "more", multiple=0.8, own_limit=True),
    Target("read_100MiB_first_touch", "GiB/s", "more", own_limit=True, part_of="read_100MiB"),
    Target("wait_1k", "ms", "less", 5),
    Target("init_to_first_task", "ms", "less", 30, limit="limit_exec", limit_nominal=0.6),
    Target("shutdown", "ms", "less", 10, limit="limit_fork", limit_nominal=0.11),
    Target("actors_100", "ms", "less", 60, limit="limit_fork", limit_scale=100, limit_nominal=11.0),
    Target("idle_cpu", "%", "less", 0.5, fixed_limit=0.0),
    Target("tasks_3_workers_sync", "us", "less", 5, **TRIP),
    Target("head_of_line", "ms", "less", 6, fixed_limit=3.0),
    Target("submit_4_threads", "1/s", "more", **{"limit": "limit_ping_pong_rate"}),
    Target("n_to_n_actors_with_ref", "1/s", "more", 5e5, **RATE),
    Target("remote_call", "us", "less", limit="limit_tcp", multiple=1.6),
    Target("remote_async", "1/s", "more", 5e5),
    Target("overflow_4_nodes", "%", "more", fixed_limit=100.0),
    Target("result_as_argument_64MiB", "us", "less", limit="limit_tcp"),
    Target("transfer_1GiB", "GiB/s", "more", multiple=0.75, limit="limit_tcp_bulk"),
    Target("transfer_1GiB_cold", "GiB/s", "more", part_of="transfer_1GiB"),
    Target("broadcast_1GiB_4", "GiB/s", "more", multiple=0.6, own_limit=True, timeout_s=60),  # first touch of 5 GiB
    Target("node_death_detected", "ms", "less", 200),
    Target("node_death_detected_cut", "ms", "less", 3000, part_of="node_death_detected"),
    Target("handshake_flood", "us", "less", multiple=5, own_limit=True),
    Target("head_failover", "ms", "less", 1000),
    Target("join_100", "s", "less", 5),
    Target("spark_up_5", "s", "less", multiple=1.3, limit="limit_spark_5", limit_program="spark_limit", on_spark=True, timeout_s=180),
    Target("spark_down_5", "s", "less", part_of="spark_up_5"),
    Target("wire_round_trip", "us", "less", multiple=1.2, own_limit=True, program="wire"),
    Target("wire_round_trip_tls", "us", "less", own_limit=True, program="wire"),
    Target("wire_small_frames", "1/s", "more", 1e6, program="wire"),
    Target("wire_bulk", "GiB/s", "more", multiple=0.9, own_limit=True, program="wire"),
    Target("wire_bulk_tls", "GiB/s", "more", own_limit=True, program="wire"),
]
BY_NAME = {target.case: target for target in TARGETS}
