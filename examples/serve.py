"""Serve explanations over HTTP: JSON in and out, requests that wait are explained together.

Needs `pip install '.[server]'`. A sample in, its relevance out:

  curl localhost:8080/explain -d '{"x": [[0.1, 0.2], [0.3, 0.4]], "target": 1}'

Example:
  python examples/serve.py --model=model.keras --method=lrp_epsilon --port=8080
"""

import argparse
import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiohttp import web

import tfrnnx

MOST = 16  # samples that are explained together
SIZES = (1, 2, 4, 8, MOST)  # compiled before the first request comes


class Request(NamedTuple):
    """A sample and a class, None for the predicted one, and where the answer is awaited."""

    x: np.ndarray
    target: int | None
    answer: asyncio.Future


class Batches:
    """Explains requests, all that wait at a time, on a thread of its own."""

    def __init__(self, explainer: tfrnnx.Explainer) -> None:
        self._explainer = explainer
        self._waiting: asyncio.Queue[Request] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        (self._spec,) = explainer.input_specs

    async def explain(self, x: Any, target: int | None) -> dict[str, Any]:
        """Return the explanation of a sample.

        Raises:
            tfrnnx.errors.InputError: for a sample that is none, or a class that there is not.
        """
        sample = np.asarray(x, self._spec.dtype.as_numpy_dtype)
        # Checked alone: the mistake of one is not to be the others'.
        self._explainer.check(sample[None], target)
        request = Request(sample, target, asyncio.get_running_loop().create_future())
        await self._waiting.put(request)
        return await request.answer

    async def run(self, _: web.Application) -> Any:
        """Answer requests as long as the server runs."""
        task = asyncio.create_task(self._answer())
        yield
        task.cancel()

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            requests = [await self._waiting.get()]
            while len(requests) < MOST and not self._waiting.empty():
                requests.append(self._waiting.get_nowait())
            # A target is of all samples, or of none.
            of_predicted = [request for request in requests if request.target is None]
            of_given = [request for request in requests if request.target is not None]
            for some in filter(None, (of_predicted, of_given)):
                try:
                    answers = await loop.run_in_executor(self._thread, self._together, some)
                except Exception as error:
                    for request in some:
                        if not request.answer.done():
                            request.answer.set_exception(error)
                else:
                    for request, answer in zip(some, answers, strict=True):
                        if not request.answer.done():  # who asked may be gone
                            request.answer.set_result(answer)

    def _together(self, requests: list[Request]) -> list[dict[str, Any]]:
        x = np.stack([request.x for request in requests])
        given = [request.target for request in requests if request.target is not None]
        targets = np.array(given) if given else None
        found = self._explainer.explain(x, targets).numpy()
        return [
            {"relevance": r, "logits": logits, "target": int(target)}
            for r, logits, target in zip(found.relevance, found.logits, found.target, strict=True)
        ]


def application(batches: Batches) -> web.Application:
    """Return the server: POST /explain, GET /health."""

    async def explain(request: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await request.read())
            target = asked.get("target", -1)
            answer = await batches.explain(asked["x"], None if target < 0 else target)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            received = f'Expected JSON such as {{"x": [[0.1]], "target": 1}}. Received: {error}'
            return web.json_response({"error": received}, status=400)
        except tfrnnx.errors.TfrnnxError as error:
            return web.json_response({"error": str(error)}, status=400)
        body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return web.Response(body=body, content_type="application/json")

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    app = web.Application()
    app.add_routes([web.post("/explain", explain), web.get("/health", health)])
    app.cleanup_ctx.append(batches.run)
    return app


def main() -> None:
    """Load a model and serve until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="A .keras file of a model with one input.")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    model = tfrnnx.load_model(arguments.model)
    explainer = tfrnnx.Explainer(model, arguments.method, batch_sizes=SIZES)
    gc.collect()
    gc.freeze()  # what stays is not searched again while somebody waits
    web.run_app(application(Batches(explainer)), port=arguments.port, access_log=None)


if __name__ == "__main__":
    main()
