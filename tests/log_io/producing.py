"""A process that appends to a topic until it is killed: python producing.py DIR TOPIC FIRST [transactional-id].

Each record's value is a rising number, its time a hundredth of a second a number. Prints each number that is acknowledged.
With a transactional id, transactions of ten; after the fifth it stays inside of an open one.
"""

from __future__ import annotations

import sys

from hornbeam.storage.log import Log, Producer


def main(directory: str, topic: str, first: int, transactional_id: str | None = None) -> None:
    """Appends for ever."""
    with Log(directory) as log, Producer(log, transactional_id=transactional_id) as producer:
        number = first
        while True:
            count = 10
            values = [b"%d" % n for n in range(number, number + count)]
            times = [n * 10_000 for n in range(number, number + count)]
            if transactional_id is not None:
                producer.begin_transaction()
            producer.append(topic, values, values, timestamps=times)
            number += count
            if transactional_id is not None:
                if number - first > 5 * count:
                    print("open", flush=True)
                    sys.stdin.read()
                producer.commit_transaction()
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
