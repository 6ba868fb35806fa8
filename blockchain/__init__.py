"""The smart contract that some federations take their rounds from: what it says, and what a wallet tells it.

Knows the settings of the chain, the contract's functions, a node's JSON-RPC, and a wallet's transactions. The only importer of
web3; imported for CASE 5 alone, and by nothing else. Knows no Kafka client and no TensorFlow.
"""

import sys

import web3  # noqa: F401 - here, before any of the rest

# Python's own. py_ecc, which comes along with web3, raises it so far that JSON of some thousand levels would crash the process.
RECURSION_LIMIT = 1_000
sys.setrecursionlimit(RECURSION_LIMIT)
