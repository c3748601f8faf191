"""Make the page on programs from what `--help` of each of them prints."""

import re
from collections.abc import Callable
from pathlib import Path

BIN = Path(__file__).resolve().parents[1] / "bin"
_OF_LIBRARIES = re.compile(r"^absl\.|^tensorflow|^Try ", re.MULTILINE)


def programs_page(help_of: Callable[[str], str]) -> str:
    """Return the page on programs.

    Args:
        help_of: returns what a program's `--help` prints, by the program's name.
    """
    names = sorted(path.name for path in BIN.iterdir() if path.is_file())
    return PROGRAMS.format(programs="\n\n".join(_section(name, help_of(name)) for name in names))


def _section(name: str, text: str) -> str:
    said, _, flags = text.partition("\nflags:\n")
    said = re.sub(r"^USAGE:.*\n", "", said.strip(), flags=re.MULTILINE)
    said, _, examples = said.partition("\nExample")
    examples = "\n".join(line.strip() for line in examples.splitlines()[1:] if line.strip())
    own = _OF_LIBRARIES.split(flags)[0]
    lines = [line for line in own.splitlines()[1:] if not line.endswith(f"bin/{name}:")]
    parts = [f"### bin/{name}", said.strip()]
    parts += [f"```sh\n{examples}\n```"] if examples else []
    body = "\n".join(lines).strip("\n")
    return "\n\n".join([*parts, f"```text\n{body}\n```"])


PROGRAMS = """# Programs and flags

*Made by `python docs/make.py` from `--help`; a test holds it up to date.*

All have `--help`. Installed, they are also called `tfrnnx-train`, `tfrnnx-explain`,
`tfrnnx-report`, `tfrnnx-export`, `tfrnnx-evaluate` and `tfrnnx-check`.

```sh
bin/train --arch=convrlstm                        # scikit-learn's digits, no network needed
bin/train --arch=convrlstm --dataset=mnist        # or fashion_mnist, downloaded by TFDS
bin/train --arch=rlstm --dataset=mnist --data_dir=/where/the/gz/files/are
bin/train --arch=rgru --dataset=freqshapes        # a series whose causes are known (docs/tasks.md)
bin/explain --model=saved_models/mnist-convrlstm --index=0,3,5 --out=explanation
bin/explain --model=saved_models/mnist-convrlstm --images=mine.npy --method=dtd --target=3
bin/explain --model=any.keras --inputs=x.npy --ledger
bin/check --model=any.keras --inputs=x.npy        # can its explanations be trusted? (sanity.md)
bin/explain --model=any.keras --inputs=x.npy --method=lrp_epsilon --parameters=epsilon=0.01
bin/report --model=saved_models/mnist-convrlstm   # one page for a run (report.md)
bin/export --model=saved_models/mnist-convrlstm --out=exported
bin/export --model=any.keras --methods=lrp_epsilon,integrated_gradients --out=exported
bin/evaluate --preset=quick                       # the study below, in a minute, on the digits
bin/train --plugin=mine.py --arch=mine            # a network from a file of your own
```

In bulk, files of inputs and the study's cells are tasks of this machine's processes or of a Ray
cluster (`pip install '.[ray]'`), which goes on where a node is lost; the same command resumes.
[In bulk](scale.md) has how to start a cluster, and the numbers for a billion sequences.

```sh
bin/explain --model=any.keras --shards=inputs/ --method=lrp_epsilon --out=relevance --jobs=8
bin/evaluate --engine=ray --address=auto
```

`bin/train` writes into `saved_models/<dataset>-<arch>/`: `model.keras`, `saved_model/`,
`history.csv`, `config.json`, `results.json`, `heatmap.png` and TensorBoard's `logs/`,
with `--monitor=5` also explanations every five epochs
([in any `model.fit`, too](guide.md#while-training)). Interrupted, the same command goes on from the
last finished epoch; after the end it prints the results again.
With `--strategy=mirrored` all GPUs of the machine share every batch
(`tf.distribute.MirroredStrategy`).
`--batch_size` is that of all together, a multiple of their number, so a run gives on any number of
devices what it gives on one, up to rounding and to the masks of dropout: nothing needs scaling, and
a run that began on one device goes on on several. To keep more devices busy raise `--batch_size`,
and `--learning_rate` with it, in proportion. Several machines are not supported: Keras 3's `fit`
fails under `MultiWorkerMirroredStrategy`
([keras#20585](https://github.com/keras-team/keras/issues/20585)).

`--precision=mixed_bfloat16` and `mixed_float16` are Keras's dtype policies: the layers compute in
16 bits, weights and logits stay float32, float16 scales its loss. The model keeps its precision
when it is saved and exported, and is explained in float32. Where TensorFlow sees GPUs, the
programs take their memory as they need it, and `pytest -m gpu` tests them.

`--data_dir` takes a TFDS folder, or one with the official gz files of
[MNIST](https://storage.googleapis.com/cvdf-datasets/mnist/) or
[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist), also in `mnist/` and
`fashion-mnist/` below it.

The SavedModel needs no tfrnnx:

```python
import numpy as np, tensorflow as tf

x = np.random.uniform(-1, 1, (5, 12, 28, 7)).astype("float32")
model = tf.saved_model.load("saved_models/mnist-convrlstm/saved_model")
logits = model.serve(x)
answer = model.explain_dtd(x)  # or model.explain_dtd(x, np.array([3, 1, 4, 1, 5]))
answer["relevance"], answer["logits"], answer["target"]
```

## All flags

{programs}
"""
