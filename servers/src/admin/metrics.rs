//! The counters in the text format that Prometheus reads.
//! They are the server's own, read when somebody asks: no second set is kept up to date.

use common::latency::{BUCKETS, Distribution, bounds};
use common::stats::Snapshot;
use common::{Code, Stats};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the binary was built from, where the build said so.
const REVISION: Option<&str> = option_env!("QUINTET_REVISION");

pub(super) fn text(model: &str, stats: &Stats, is_ready: bool) -> String {
    let mut families = vec![
        family(
            ("quintet_build_info", "What runs here; always 1."),
            MetricType::GAUGE,
            vec![labelled(
                &[
                    ("model", model),
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("revision", REVISION.unwrap_or("unknown")),
                ],
                gauge_of(1),
            )],
        ),
        gauge("quintet_ready", "1 until a drain begins, then 0.", is_ready.into()),
    ];
    families.extend(of_connections(&stats.snapshot()));
    families.extend(of_requests(&stats.snapshot()));
    families.extend(stats.latency().as_ref().map(of_latency));
    families.extend(prometheus::gather()); // what a server counts beside what all of them do
    // Each family has a name and a metric: all that encoding asks for.
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

fn of_connections(now: &Snapshot) -> Vec<MetricFamily> {
    vec![
        gauge("quintet_connections_open", "Connections that are open.", now.open),
        counter("quintet_connections_accepted_total", "Connections served.", now.accepted),
        counter("quintet_connections_refused_total", "Connections above the limit.", now.refused),
        counters(
            "quintet_timeouts_total",
            "Connections closed because their peer took too long, by what for.",
            "kind",
            &[
                ("idle", now.idle_timeouts),
                ("read", now.read_timeouts),
                ("write", now.write_timeouts),
            ],
        ),
        counters(
            "quintet_system_calls_total",
            "System calls on connections, and for events on them.",
            "call",
            &[("read", now.reads), ("write", now.writes), ("wait", now.waits)],
        ),
    ]
}

fn of_requests(now: &Snapshot) -> Vec<MetricFamily> {
    let errors = [
        (name(Code::InvalidArgument), now.invalid_argument),
        (name(Code::DeadlineExceeded), now.deadline_exceeded),
        (name(Code::NotFound), now.not_found),
        (name(Code::ResourceExhausted), now.resource_exhausted),
        (name(Code::Internal), now.internal),
    ];
    let failed: u64 = errors.iter().map(|(_, count)| count).sum();
    let answered = [[(name(Code::Ok), now.requests - failed)].as_slice(), &errors].concat();
    vec![
        counters(
            "quintet_requests_total",
            "Requests that were answered, by code.",
            "code",
            &answered,
        ),
        counter(
            "quintet_protocol_errors_total",
            "What came on a connection and was no request.",
            now.protocol_errors,
        ),
        counter(
            "quintet_requests_rejected_total",
            "Requests that were told to come back later.",
            now.rejected,
        ),
        gauge(
            "quintet_requests_in_progress",
            "Requests that wait, compute or block; not those that are answered at once.",
            now.in_progress,
        ),
        gauge(
            "quintet_requests_in_progress_peak",
            "The most of them at any time.",
            now.in_progress_peak,
        ),
        gauge(
            "quintet_requests_queued",
            "Requests that wait for somebody to begin with them.",
            now.queued,
        ),
        gauge("quintet_requests_queued_peak", "The most of them at any time.", now.queued_peak),
    ]
}

/// As `google.rpc.Code` spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Internal => "INTERNAL",
    }
}

fn of_latency(latency: &Distribution) -> MetricFamily {
    let mut sum = 0;
    let cumulative = latency.counts.map(|count| {
        sum += count;
        sum
    });
    let buckets = bounds().into_iter().zip(cumulative).map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(cumulative[BUCKETS]);
    histogram.set_sample_sum(latency.sum.as_secs_f64());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let help = "From the read that completed a request until the kernel had its reply; of grpc \
                from the decoded request until its reply was ready.";
    family(("quintet_request_duration_seconds", help), MetricType::HISTOGRAM, vec![metric])
}

fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    family((name, help), MetricType::GAUGE, vec![gauge_of(value)])
}

fn gauge_of(value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    Metric::from_gauge(gauge)
}

fn counter(name: &str, help: &str, value: u64) -> MetricFamily {
    family((name, help), MetricType::COUNTER, vec![counter_of(value)])
}

/// One counter for each value of one label.
fn counters(name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> MetricFamily {
    let metric = |(word, value): &(&str, u64)| labelled(&[(label, *word)], counter_of(*value));
    family((name, help), MetricType::COUNTER, values.iter().map(metric).collect())
}

fn counter_of(value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn labelled(labels: &[(&str, &str)], mut metric: Metric) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.set_label(labels.iter().map(pair).collect());
    metric
}

fn family((name, help): (&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
