"""The client library of InfluxDB: writes three points and waits for the answer.

Usage: writer.py URL NANOSECONDS     the time of the first point; the others are a second apart
"""

import sys

from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS

url, first = sys.argv[1], int(sys.argv[2])
with InfluxDBClient(url=url, token="any", org="plant", enable_gzip=True) as client:
    points = [
        Point("tank").tag("host", "edge-9").field("level", 0.5 + number).field("alarm", number == 2).time(first + number * 10**9)
        for number in range(3)
    ]
    client.write_api(write_options=SYNCHRONOUS).write(bucket="plant", record=points)
# It was answered: whoever looks now must find it.
print("ready written", flush=True)
sys.stdin.read()
