# SPDX-License-Identifier: Apache-2.0
"""A client that keeps a live picture of a tenant by the messages of its events."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Dashboard:
    """What a state and the messages after it add up to, by nothing but what their types say."""

    def __init__(self, state: Json) -> None:
        assert state["type"] == "state"
        self.pipelines = set(state["pipelines"])
        self.queues: dict[tuple[str, str], list[Json]] = {}
        for item in state["items"]:
            self._queue(item).append(dict(item))

    def _queue(self, item: Json) -> list[Json]:
        return self.queues.setdefault((item["pipeline"], item["queue"]), [])

    def _take_out(self, key: str) -> Json:
        for queue in self.queues.values():
            for item in queue:
                if item["key"] == key:
                    queue.remove(item)
                    return item
        raise AssertionError(f"there is no item {key}")

    def item(self, key: str) -> Json:
        (found,) = (item for queue in self.queues.values() for item in queue if item["key"] == key)
        return found

    def apply(self, message: Json) -> None:
        getattr(self, message["type"])(message)

    def item_enqueued(self, message: Json) -> None:
        assert all(item["key"] != message["item"]["key"] for queue in self.queues.values() for item in queue)
        self._put(message["item"], {})

    def item_moved(self, message: Json) -> None:
        self._put(message["item"], self._take_out(message["item"]["key"]))

    def item_changed(self, message: Json) -> None:
        earlier = self._take_out(message["item"]["key"])
        assert self._queue(message["item"]) is self._queue(earlier)
        self._put(message["item"], earlier)

    def _put(self, item: Json, earlier: Json) -> None:
        queue = self._queue(item)
        assert 0 <= item["position"] <= len(queue)
        queue.insert(item["position"], {**earlier, **item})

    def item_left(self, message: Json) -> None:
        self._take_out(message["item"]["key"])

    def build_started(self, message: Json) -> None:
        self._put_build(message, message["build"])

    def build_finished(self, message: Json) -> None:
        self._put_build(message, message["build"])

    def build_progressed(self, message: Json) -> None:
        builds = self.item(message["item"]["key"])["builds"]
        (earlier,) = (build for build in builds if build["job_name"] == message["build"]["job_name"])
        self._put_build(message, {**earlier, **message["build"]})

    def _put_build(self, message: Json, build: Json) -> None:
        item = self.item(message["item"]["key"])
        item["builds"] = [build if build["job_name"] == known["job_name"] else known for known in item["builds"]]

    def pipeline_reconfigured(self, message: Json) -> None:
        name, change = message["pipeline"], message["change"]
        assert (name in self.pipelines) is (change != "added")
        if change == "added":
            self.pipelines.add(name)
        elif change == "removed":
            self.pipelines.remove(name)

    def picture(self) -> Json:
        """What there is to see, without what goes on by itself."""
        return {
            "pipelines": self.pipelines,
            "queues": {
                name: [
                    {**item, "position": n, "builds": [_standing(build) for build in item["builds"]]}
                    for n, item in enumerate(queue)
                ]
                for name, queue in self.queues.items()
                if queue
            },
        }


def _standing(build: Json) -> Json:
    running = "start_time" in build and build["result"] is None
    return {name: value for name, value in build.items() if not (running and name == "elapsed_time")}
