# SPDX-License-Identifier: Apache-2.0
"""The history: builds and buildsets as the scheduler's SQL reporter has written them down.

The package is the one door to SQLAlchemy. `facade.py` is what others call; `reading.py` has the questions, `pages.py`
where a page begins and ends, `walks.py` how each database is brought to find it, `filters.py` what filters mean,
`tables.py` what there is, `database.py` the connections.
"""

from zuul.web.backends.history.facade import History
from zuul.web.backends.history.probe import Found, probe

__all__ = ["Found", "History", "probe"]
