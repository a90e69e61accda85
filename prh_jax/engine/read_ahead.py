"""Items of an iterator made by a thread, ahead of who consumes them."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """The items, made by a thread while those before are in use: at most `ahead` wait or are being made.

    Errors of the iterator are raised here. When the consumer stops early, so does the thread, at its next item.
    """
    ready: queue.Queue = queue.Queue()
    room = threading.Semaphore(ahead)
    stopped = threading.Event()
    end = object()

    def work() -> None:
        try:
            while True:
                room.acquire()
                if stopped.is_set():
                    return
                item = next(items, end)
                ready.put((item, None))
                if item is end:
                    return
        except BaseException as error:  # handed to the consumer, whatever it is
            ready.put((end, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            room.release()
            yield item
            del item
    finally:
        stopped.set()
        room.release()
