"""The command line and the output that every client program shares; ../../README.md describes both."""

import argparse
import sys


def order():
    """What was ordered on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group")
    parser.add_argument("--member")
    parser.add_argument("--at", default="earliest")
    parser.add_argument("--records", type=int)
    parser.add_argument("--commit-every", type=int)
    parser.add_argument("--hold-at", type=int)
    parser.add_argument("--session-timeout", type=int, default=6000)
    parser.add_argument("--registry")
    parser.add_argument("--mechanism")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--ca")
    return parser.parse_args()


def say(*words):
    """Writes one line of output that the test may wait for."""
    print(*words, flush=True)


def fail(message):
    """Ends the program with the client's own message."""
    say("error", " ".join(str(message).split()))
    sys.exit(1)


def numbers(partitions):
    """Partitions as the lines `assigned` and `revoked` have them."""
    return ",".join(str(partition) for partition in sorted(partitions))


class Taken:
    """What was taken so far, and what follows from it."""

    def __init__(self, order):
        self.order = order
        self.count = 0
        self.positions = {}

    def revoke(self, partitions):
        """Whoever gets the partitions now commits them."""
        for partition in partitions:
            self.positions.pop(partition, None)

    def take(self, partition, offset, key, value):
        """Writes a record; returns whether the positions are to be committed now."""
        self.count += 1
        self.positions[partition] = offset + 1
        text = value if isinstance(value, str) else value.hex()
        print("record", partition, offset, key.decode(), text)
        return bool(self.order.commit_every) and self.count % self.order.commit_every == 0

    def flush(self):
        """Shows what was taken so far to whoever reads along."""
        sys.stdout.flush()

    def committed(self):
        """Says what was committed."""
        say("committed", ",".join(f"{partition}:{offset}" for partition, offset in sorted(self.positions.items())))

    def is_held(self):
        """Whether nothing more is to be taken until the program is killed."""
        return self.order.hold_at is not None and self.count >= self.order.hold_at

    def is_done(self):
        """Whether the program is to end."""
        return self.order.records is not None and self.count >= self.order.records
