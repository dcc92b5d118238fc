#!/usr/bin/env python3
"""Makes the committed flights sample from the Parquet file of vega-datasets.

    make_flights_sample.py FLIGHTS.parquet examples/data/flights.bin [--every 3]

Keeps every third flight in the order of the source (which is the order of time) and its day, hour, origin and delay. The
format is described in examples/data/README.md. Needs pyarrow; nothing else of the project does. The same input gives the
same bytes.
"""
import argparse
import datetime
import struct
import sys

MAGIC = b"RAYXFLT1"
HOURS = 24


def varints(values):
    """Zigzag, then seven bits a byte, lowest first, the high bit saying that another byte follows."""
    out = bytearray()
    for value in values:
        rest = value * 2 if value >= 0 else -value * 2 - 1
        while rest >= 0x80:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def encode(dates, delays, origins):
    airports = sorted(set(origins))
    if len(airports) > 256 or any(len(code) != 3 or not code.isascii() for code in airports):
        sys.exit("the format holds at most 256 airports with codes of three ASCII letters")
    if min(delays) < -32768 or max(delays) > 32767:
        sys.exit("a delay does not fit into 16 bits")
    number = {code: index for index, code in enumerate(airports)}
    epoch = datetime.date(1970, 1, 1)
    first_day = (dates[0].date() - epoch).days
    hours = [((date.date() - epoch).days - first_day) * HOURS + date.hour for date in dates]
    if any(later < earlier for earlier, later in zip(hours, hours[1:])):
        sys.exit("the flights are not in the order of time")
    days = hours[-1] // HOURS + 1
    flights_in_hour = [0] * (days * HOURS)
    for hour in hours:
        flights_in_hour[hour] += 1
    header = MAGIC + struct.pack("<4I", len(dates), len(airports), first_day, days)
    return b"".join([
        header,
        "".join(airports).encode("ascii"),
        struct.pack(f"<{len(flights_in_hour)}H", *flights_in_hour),
        bytes(number[code] for code in origins),
        varints(delays),
    ])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("source", help="flights-3m.parquet of vega-datasets")
    arguments.add_argument("target", help="the file to write")
    arguments.add_argument("--every", type=int, default=3, metavar="N", help="keep every Nth flight (default 3)")
    options = arguments.parse_args()
    if options.every < 1:
        arguments.error("--every needs a number above zero")
    try:
        import pyarrow.parquet
    except ImportError:
        sys.exit("this script needs pyarrow: python3 -m venv v && v/bin/pip install pyarrow")
    table = pyarrow.parquet.read_table(options.source, columns=["date", "delay", "origin"]).to_pydict()
    columns = [table[name][::options.every] for name in ("date", "delay", "origin")]
    data = encode(*columns)
    with open(options.target, "wb") as target:
        target.write(data)
    print(f"{len(columns[0]):,} flights, {len(data):,} bytes -> {options.target}")


if __name__ == "__main__":
    main()
