//! A span for each call, in the trace that its client names (W3C `traceparent`), told back in the
//! answer's head and sent to a collector where there is one. It pays with a span's allocations.

mod export;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanContext, SpanKind, Status, TracerProvider};
use opentelemetry::{KeyValue, trace};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::{task, time};
use tonic::Code;

use super::methods;
use super::observe::{Observed, Observer};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Whose spans they are, for the collector.
const SERVICE: &str = "quintet-grpc";
/// How long a drain waits for a collector to take the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The observer that traces.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// One call.
#[derive(Debug)]
pub(in crate::grpc) struct Traced(opentelemetry_sdk::trace::Span);

impl Traces {
    /// Within a runtime, whose connections the exporter shares.
    ///
    /// # Errors
    /// If there can be no connection to `collector`, ever.
    pub(super) fn new(collector: Option<&str>) -> Result<Self, String> {
        let resource = Resource::builder().with_service_name(SERVICE).build();
        // Whoever begins a trace says whether it is recorded; one that begins here is.
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let provider = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
        let provider = match collector {
            Some(endpoint) => provider.with_span_processor(export::to(endpoint)?),
            None => provider,
        };
        let provider = provider.build();
        Ok(Self { tracer: provider.tracer(SERVICE), provider })
    }

    pub(super) async fn flush(self) {
        let flush =
            task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if !matches!(time::timeout(FLUSH_TIMEOUT, flush).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the last spans may be lost: the collector did not take them in time");
        }
    }
}

impl Observer for Traces {
    type Call = Traced;

    fn begins<B>(&self, request: &mut Request<B>) -> Traced {
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        let method = methods::at(request.uri().path());
        let name = format!("{}/{}", method.service, method.name);
        let span = trace::SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", method.service.as_str()),
                KeyValue::new("rpc.method", method.name.as_str()),
            ])
            .start_with_context(&self.tracer, &parent);
        request.extensions_mut().insert(span.span_context().clone());
        Traced(span)
    }
}

impl Observed for Traced {
    fn answers(&mut self, head: &mut HeaderMap) {
        head.insert(TRACEPARENT, traceparent(self.0.span_context()));
    }

    fn ends(mut self, code: Code) {
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", code as i64));
        if is_the_servers(code) {
            self.0.set_status(Status::error(super::codes::name(code)));
        }
        self.0.end();
    }
}

/// Which codes are a server's fault, by OpenTelemetry's conventions for RPC.
fn is_the_servers(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn traceparent(span: &SpanContext) -> HeaderValue {
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    let text = format!("00-{trace}-{id}-{flags:02x}");
    HeaderValue::try_from(text).expect("hexadecimal digits and dashes")
}

/// The metadata of a call, as the propagator reads it.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    /// Nothing but `traceparent`: with kilobytes of `tracestate` on each span, the queue would have
    /// no bound in bytes.
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(Some(key).filter(|key| *key == TRACEPARENT)?)
            .and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(given: Option<&str>) -> SpanContext {
        let mut request = Request::builder().uri("/quintet.v1.Quintet/Call");
        if let Some(given) = given {
            request = request.header(TRACEPARENT, given);
            request = request.header("tracestate", "vendor=kilobytes");
        }
        let mut request = request.body(()).unwrap();
        let mut call = Traces::new(None).unwrap().begins(&mut request);
        let mut head = HeaderMap::new();
        call.answers(&mut head);
        let told = TraceContextPropagator::new().extract(&Headers(&head));
        let told = trace::TraceContextExt::span(&told).span_context().clone();
        let span = request.extensions().get::<SpanContext>().unwrap();
        assert_eq!(span.span_id(), told.span_id());
        assert_eq!(span.trace_state().header(), "", "no span holds more than it must");
        told
    }

    #[test]
    fn a_call_is_in_the_trace_of_its_parent() {
        for (flags, is_sampled) in [("01", true), ("00", false)] {
            let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let span = traced(Some(&parent));
            assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_ne!(span.span_id().to_string(), "b7ad6b7169203331");
            assert_eq!(span.is_sampled(), is_sampled);
        }
    }

    #[test]
    fn a_call_without_a_parent_begins_a_trace() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for none in [None, Some("00-nonsense-01"), Some(zeros)] {
            assert!(traced(none).is_valid() && traced(none).is_sampled());
            assert_ne!(traced(none).trace_id(), traced(none).trace_id());
        }
    }
}
