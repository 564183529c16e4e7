//! The way of spans to a collector (OTLP over gRPC): in batches, from a queue that drops what it
//! cannot hold. A collector that is gone costs a thread that tries in vain, and a line now and then.

use std::time::Duration;

use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter};
use tonic::transport::Endpoint;

use crate::seldom::Seldom;

/// Spans that wait: at about 500 bytes each, a few megabytes.
const QUEUE_MAX: usize = 8192;
/// Spans of one message to the collector.
const BATCH_MAX: usize = 512;
/// How old a span may grow before it is sent.
const DELAY: Duration = Duration::from_secs(1);
/// How long one batch may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// What sends spans to `endpoint`, from a thread of its own.
pub(super) fn to(endpoint: &str) -> Result<BatchSpanProcessor, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("--otlp-endpoint: {endpoint}: {error}");
    let channel = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| wrong(&error))?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(channel.connect_timeout(EXPORT_TIMEOUT).connect_lazy())
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| wrong(&error))?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(DELAY)
        .build();
    Ok(BatchSpanProcessor::builder(Exporter(exporter)).with_batch_config(config).build())
}

/// The crate's exporter, with a word where it fails.
#[derive(Debug)]
struct Exporter(opentelemetry_otlp::SpanExporter);

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        static FAILED: Seldom = Seldom::new();
        let spans = batch.len();
        let sent = self.0.export(batch).await;
        if let (Err(error), Some(left_out)) = (&sent, FAILED.say()) {
            tracing::warn!(%error, spans, left_out, "spans were lost on their way to the collector");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
