"""What a server of explanations answers in, at 200 requests a second: examples/serve.py.

Requests come at times drawn from an exponential distribution, whether or not those before them are
answered, over connections that stay open. LSTM(128) over 100 steps of 16, lrp_epsilon.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import keras
import numpy as np
import orjson

from benchmarks.measure import Row

_RATE, _WARM_UP = 200, 2.0  # requests and seconds
_PORT = 18080
_SERVER = Path(__file__).parent.parent / "examples" / "serve.py"
_METHOD = "lrp_epsilon"


def rows(rounds: int) -> Iterator[Row]:
    """Yield the median and the 99th percentile, in milliseconds, over a second a round."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((100, 16)), keras.layers.LSTM(128), keras.layers.Dense(5)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        keras.Sequential(layers).save(path)
        command = [sys.executable, _SERVER, f"--model={path}", f"--method={_METHOD}"]
        server = subprocess.Popen([*command, f"--port={_PORT}"], stdout=subprocess.DEVNULL)
        try:
            times = asyncio.run(_loaded(rounds))
        finally:
            server.terminate()
            server.wait()
    milliseconds = 1e3 * np.array(times)
    note = f"{len(times)} requests, {_RATE} a second; server and load generator share the machine"
    for name, percentile, target in (("median", 50, 3.0), ("99th percentile", 99, None)):
        value = float(np.percentile(milliseconds, percentile))
        yield Row("server", f"{name}, ms", value, None, None, target, "lower", note)


async def _loaded(seconds: float) -> list[float]:
    """Return how long each answer took."""
    url = f"http://localhost:{_PORT}"
    x = np.random.default_rng(0).uniform(-1, 1, (100, 16)).astype("float32")
    body = orjson.dumps({"x": x}, option=orjson.OPT_SERIALIZE_NUMPY)
    times: list[float] = []
    async with aiohttp.ClientSession() as session:
        await _ready(session, url)

        async def ask(kept: bool) -> None:
            begun = time.perf_counter()
            async with session.post(f"{url}/explain", data=body) as response:
                answer = await response.read()
                if response.status != 200:
                    raise RuntimeError(answer)
            if kept:
                times.append(time.perf_counter() - begun)

        rng, begun, due = np.random.default_rng(1), time.perf_counter(), 0.0
        asked = []
        while due < _WARM_UP + seconds:
            due += rng.exponential(1 / _RATE)
            await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
            asked.append(asyncio.create_task(ask(due > _WARM_UP)))
        await asyncio.gather(*asked)
    return times


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(600):
        try:
            async with session.get(f"{url}/health"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)
    raise RuntimeError("Expected examples/serve.py to start within two minutes")
