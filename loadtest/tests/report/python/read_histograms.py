"""Reads an interval log with HdrHistogram's Python port, and prints what is in it as JSON.

Beside each histogram stands its percentile distribution in milliseconds, as that port writes it.
"""

import io
import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

NS_PER_MS = 1e6
HOUR_NS = 3_600_000_000_000

reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, HOUR_NS, 3))
found = []
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None:
        break
    text = io.BytesIO()
    histogram.output_percentile_distribution(text, NS_PER_MS)
    found.append(
        {
            "tag": histogram.get_tag(),
            "start_ms": histogram.get_start_time_stamp(),
            "end_ms": histogram.get_end_time_stamp(),
            "count": histogram.get_total_count(),
            "p50_ns": histogram.get_value_at_percentile(50),
            "p99_ns": histogram.get_value_at_percentile(99),
            "max_ns": histogram.get_max_value(),
            "distribution": text.getvalue().decode(),
        }
    )
print(json.dumps(found))
