"""Profiles itself with the unmodified Python SDK, with a label that is set while it runs.

usage: python client.py SERVER_URL SECONDS
"""

import sys
import time

import pyroscope


def everflame_hot_python(rounds):
    total = 0
    for i in range(rounds):
        total += i * i % 7
    return total


def main():
    server, seconds = sys.argv[1], float(sys.argv[2])
    # The SDK uploads at whole multiples of this many seconds; its default is 10.
    pyroscope.configure(
        application_name="client-python",
        server_address=server,
        sample_rate=100,
        upload_interval=1,
        mem_enabled=True,
        tags={"region": "test"},
    )
    end = time.monotonic() + seconds
    retained = []
    while time.monotonic() < end:
        with pyroscope.tag_wrapper({"endpoint": "cart"}):
            everflame_hot_python(200_000)
        retained.append(bytearray(256 * 1024))
    if not pyroscope.shutdown():
        sys.exit("pyroscope.shutdown() reports a failure")


if __name__ == "__main__":
    main()
