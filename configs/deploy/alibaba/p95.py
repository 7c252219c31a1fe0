"""Reports to CloudMonitor how long 95 of 100 answers of this node took in the last minute. A timer runs it."""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

METRIC = "banksight_answer_p95_seconds"
_BUCKET = re.compile(r"^http_request_duration_seconds_bucket\{([^}]*)\} (\S+)$", re.MULTILINE)
_ANSWERS = re.compile(r'route="/v1/(ask|chat/completions)"')


def buckets(text):
    """Upper bound in seconds -> answers that took so long or less, since the service started."""
    counts = {}
    for labels, value in _BUCKET.findall(text):
        if _ANSWERS.search(labels):
            bound = float(re.search(r'le="([^"]+)"', labels)[1].replace("+Inf", "inf"))
            counts[bound] = counts.get(bound, 0.0) + float(value)
    return counts


def percentile(before, now, share=0.95):
    """Seconds, interpolated within the bucket as Prometheus does; 0 where nothing was answered."""
    if any(now[bound] < before.get(bound, 0) for bound in now):
        before = {}  # the service was started anew
    counts = [(bound, now[bound] - before.get(bound, 0)) for bound in sorted(now)]
    if not counts or not counts[-1][1]:
        return 0.0
    rank, low, below = share * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def main():
    """Exit code 0 where the figure was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--state", default="/run/banksight/p95.json")
    options = parser.parse_args()
    with urllib.request.urlopen("http://127.0.0.1:3000/metrics", timeout=10) as answer:
        now = buckets(answer.read().decode())
    state = Path(options.state)
    before = {float(key): value for key, value in json.loads(state.read_text()).items()} if state.exists() else now
    state.write_text(json.dumps(now))
    metric = {
        "MetricName": METRIC,
        "GroupId": options.group,
        "Type": "1",
        "Period": "60",
        "Time": str(int(time.time() * 1000)),
        "Dimensions": json.dumps({"node": Path("/etc/hostname").read_text().strip()}),
        "Values": json.dumps({"Average": round(percentile(before, now), 3)}),
    }
    words = [word for key, value in metric.items() for word in (f"--MetricList.1.{key}", value)]
    return subprocess.call(
        ["aliyun", "cms", "PutCustomMetric", *words, "--region", options.region, "--profile", "banksight"]
    )


if __name__ == "__main__":
    sys.exit(main())
