"""Where all relevance went: to the input, and to what takes it on the way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from tfrnnx.explaining.arrays import Tensor
from tfrnnx.primitives.record import ACCOUNTS


class Row(NamedTuple):
    """What one account of one layer took.

    Attributes:
        layer: its path, or the name of an input.
        step: the time step of a recurrent layer, else None.
        account: "input", "bias", "epsilon", "gates" or "initial state".
        relevance: (batch,).
    """

    layer: str
    step: int | None
    account: str
    relevance: np.ndarray


class Ledger:
    """All relevance of a batch, by what took it.

    What the start gave equals what the accounts took, to rounding, for every relevance method.
    The accounts are:

    - input: what arrived at the model's inputs;
    - bias: the share of biases, under `bias="absorb"`;
    - epsilon: what stabilizers and guarded divisions took (0/0 = 0), and zeros that rules count
      which do not look at values; negative where αβ gives out more than it got;
    - gates: what biases and stabilizers of gates took, where gates get relevance;
    - initial state: what arrived at the states that recurrent layers start from.

    Attributes:
        start: what the backward pass started with, (batch,).
        inputs: by the names of the inputs, (batch,).
        taken: by layer, what maps took: (batch, 3) or, of recurrent layers, (batch, steps, 3);
            the last axis are bias, epsilon and gates.
        initial_states: by layer, (batch,).

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x = np.ones((5, 4), "float32")
        >>> ledger = tfrnnx.explain(model, x, "lrp_epsilon", ledger=True).ledger
        >>> list(ledger.totals())
        ['input', 'bias', 'epsilon', 'gates', 'initial state']
    """

    def __init__(
        self,
        start: Tensor,
        inputs: Mapping[str, Tensor],
        taken: Mapping[str, Sequence[Tensor]],
        initial_states: Mapping[str, Tensor],
    ) -> None:
        self.start = np.asarray(start)
        self.inputs = {name: np.asarray(value) for name, value in inputs.items()}
        self.taken = {name: [np.asarray(v) for v in values] for name, values in taken.items()}
        self.initial_states = {name: np.asarray(value) for name, value in initial_states.items()}

    @classmethod
    def joined(cls, ledgers: "Sequence[Ledger]") -> "Ledger":
        """Return the ledgers of batches as one of all samples."""
        first = ledgers[0]

        def of(values: list[np.ndarray]) -> np.ndarray:
            return np.concatenate(values)

        return cls(
            of([ledger.start for ledger in ledgers]),
            {name: of([ledger.inputs[name] for ledger in ledgers]) for name in first.inputs},
            {
                layer: [of([ledger.taken[layer][i] for ledger in ledgers]) for i in range(len(v))]
                for layer, v in first.taken.items()
            },
            {
                layer: of([ledger.initial_states[layer] for ledger in ledgers])
                for layer in first.initial_states
            },
        )

    def part(self, some: slice) -> "Ledger":
        """Return the ledger of some of the samples."""
        return Ledger(
            self.start[some],
            {name: value[some] for name, value in self.inputs.items()},
            {layer: [value[some] for value in values] for layer, values in self.taken.items()},
            {layer: value[some] for layer, value in self.initial_states.items()},
        )

    def rows(self) -> Iterator[Row]:
        """Yield what every account took, from the input upward; none that took nothing."""
        for name, value in self.inputs.items():
            yield Row(name, None, "input", value)
        for layer in dict.fromkeys([*self.taken, *self.initial_states]):
            if layer in self.initial_states:
                yield Row(layer, None, "initial state", self.initial_states[layer])
            for values in self.taken.get(layer, []):
                if values.ndim == 2:
                    yield from self._by_account(layer, None, values)
                else:
                    for step in range(values.shape[1]):
                        yield from self._by_account(layer, step, values[:, step])

    def _by_account(self, layer: str, step: int | None, values: np.ndarray) -> Iterator[Row]:
        for column, account in enumerate(ACCOUNTS):
            if np.any(values[:, column]):
                yield Row(layer, step, account, values[:, column])

    def totals(self) -> dict[str, np.ndarray]:
        """Return what each account took over all layers and steps, (batch,)."""
        names = ("input", *ACCOUNTS, "initial state")
        totals = {name: np.zeros_like(self.start) for name in names}
        for row in self.rows():
            totals[row.account] = totals[row.account] + row.relevance
        return totals

    def total(self) -> np.ndarray:
        """Return the sum of all accounts, (batch,): `start`, to rounding."""
        return np.sum(list(self.totals().values()), axis=0)

    def arrived(self) -> float:
        """Return the share of all that the start gave which arrived at the inputs."""
        start = float(np.sum(self.start))
        return float(np.sum(list(self.inputs.values()))) / start if start else 0.0

    def means(self, steps: bool = False) -> dict[tuple[str, str, str], float]:
        """Return the means over the batch by layer, step ("" without, "all") and account.

        Args:
            steps: one for every time step, instead of their sum.
        """
        sums: dict[tuple[str, str, str], float] = {}
        for row in self.rows():
            step = "" if row.step is None else str(row.step) if steps else "all"
            key = (row.layer, step, row.account)
            sums[key] = sums.get(key, 0.0) + float(np.mean(row.relevance))
        return sums

    def table(self, steps: bool = False) -> str:
        """Return a table of the means over the batch, a row a layer and account.

        Args:
            steps: a row for every time step, instead of their sum.
        """
        sums = self.means(steps)
        start = float(np.mean(self.start))
        entries = [*sums.items(), (("", "", "all accounts"), float(np.mean(self.total())))]
        rows = [
            (*names, f"{value:.6g}", f"{value / start:.1%}" if start else "-")
            for names, value in entries
        ]
        return tabulate(
            [*rows, ("", "", "start", f"{start:.6g}", "")],
            headers=("layer", "step", "account", "relevance", "part of start"),
            tablefmt="plain",
            colalign=("left", "left", "left", "right", "right"),
            disable_numparse=True,
        )
