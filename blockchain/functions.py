"""The functions of a federation's contract, as the wire contract has them. Pure: no web3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXAMPLE = '[{"type": "function", "name": "getCurrentRound", "inputs": [], "outputs": [{"type": "uint256"}], …}, …]'


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract: its name, and the Solidity types of what it takes and gives."""

    name: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    changes: bool = False

    def __str__(self) -> str:
        given = f" → {', '.join(self.gives)}" if self.gives else ""
        return f"{self.name}({', '.join(self.takes)}){given}"

    def abi(self) -> dict[str, Any]:
        """Its entry in an ABI."""
        return {
            "type": "function",
            "name": self.name,
            "stateMutability": "nonpayable" if self.changes else "view",
            "inputs": [{"name": f"input{at}", "type": one} for at, one in enumerate(self.takes)],
            "outputs": [{"name": "", "type": one} for one in self.gives],
        }


STATUS = Function("getTrainingStatus", gives=("bool",))
ROUND = Function("getCurrentRound", gives=("uint256",))
MODEL = Function("getGlobalModel", takes=("uint256",), gives=("string",))
SETTINGS = Function("getTrainingSettings", gives=("string",))
ARCHITECTURE = Function("getModelArchitecture", gives=("string",))
COMPILE_ARGS = Function("getModelCompileArgs", gives=("string",))
CONTRIBUTE = Function("sendClientContribution", takes=("string", "string", "uint256"), changes=True)

FUNCTIONS = (STATUS, ROUND, MODEL, SETTINGS, ARCHITECTURE, COMPILE_ARGS, CONTRIBUTE)
# What is called: of a contract's own ABI no more is needed than that it has these.
ABI = tuple(function.abi() for function in FUNCTIONS)


def check_abi(text: str) -> None:
    """See whether an ABI has every function of the wire contract; it may have others.

    Raises:
        ValueError: it is no ABI, or lacks some; all of them are named, with what stands there under the same name.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"is not JSON ({exc}): give the contract's ABI, such as {EXAMPLE}") from exc
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError(f"is no list of JSON objects: give the contract's ABI, such as {EXAMPLE}")
    there = [_function(one) for one in entries if one.get("type", "function") == "function"]
    lacking = [function for function in FUNCTIONS if not any(_serves(one, function) for one in there)]
    if lacking:
        raise ValueError(f"lacks {', '.join(_lack(one, there) for one in lacking)}: give the whole ABI of the contract")


def _function(entry: Mapping[str, Any]) -> Function:
    return Function(str(entry.get("name")), _types(entry.get("inputs")), _types(entry.get("outputs")))


def _types(values: Any) -> tuple[str, ...]:
    if not isinstance(values, Sequence):
        return ()
    return tuple(str(one.get("type")) for one in values if isinstance(one, Mapping))


def _serves(one: Function, wanted: Function) -> bool:
    if (one.name, one.takes) != (wanted.name, wanted.takes):
        return False
    return wanted.changes or one.gives == wanted.gives  # what a transaction gives is never seen


def _lack(wanted: Function, there: Sequence[Function]) -> str:
    same = next((one for one in there if one.name == wanted.name), None)
    return str(wanted) if same is None else f"{wanted} (it has {same})"
