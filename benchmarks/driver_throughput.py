"""Tasks a second that the driver of a Ray cluster hands out: the numbers of docs/scale.md.

Tasks that do nothing, on Ray on this machine: what they cost the driver, in processor time of its
process, and how many end in a second, which the workers of a small machine limit.

Example:
  python -m benchmarks.driver_throughput
"""

import time

import ray

from tfrnnx.storage.ray_engine import RayEngine

_TASKS, _ROUNDS = 5000, 3


def _nothing(shared: None, task: int) -> None:
    """Do nothing."""


def main() -> None:
    ray.init("local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    engine = RayEngine()
    list(engine.run(_nothing, None, range(20)))  # which starts the workers
    for _ in range(_ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        done = len(list(engine.run(_nothing, None, range(_TASKS))))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"{done / wall:.0f} tasks a second, {1e3 * processor / done:.2f} ms each", flush=True)


if __name__ == "__main__":
    main()
