# SPDX-License-Identifier: Apache-2.0
"""Nodepool, as its tree in ZooKeeper shows it.

facade.py       what the rest of us asks, and is answered from memory
views.py        rows made of rows: labels, providers, images ...
inventory.py    the rows, by kind, as znodes come, change and go
records.py      one row of one znode
interface.py    what a tree of znodes is
zookeeper.py    ZooKeeper's, by kazoo; following.py has its watches, branches.py says which znodes
memory.py       one in memory
"""

from zuul.web.backends.nodepool.facade import Nodepool, State
from zuul.web.backends.nodepool.reach import reachable

__all__ = ["Nodepool", "State", "reachable"]
