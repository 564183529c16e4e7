//! The service of the gRPC interoperability tests, as their description asks for it.
//! It pays with a look at each call's first byte, which alone says whether a message is compressed.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use crate::echo::{Compressed, Echo};
use generated::test_service_server::{TestService, TestServiceServer};
use generated::{
    EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};

#[allow(missing_docs, unreachable_pub, clippy::pedantic)] // not ours to style
pub(crate) mod generated {
    tonic::include_proto!("grpc.testing");
}

/// The largest payload that is made because somebody asks for it.
const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the server under test is given beside its own services.
pub(crate) fn routes() -> tonic::service::Routes {
    let service = TestServiceServer::new(Tested)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    tonic::service::Routes::new(Echo::new(service))
}

#[derive(Debug)]
struct Tested;

type Answers = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

#[tonic::async_trait]
impl TestService for Tested {
    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let was_compressed = request.extensions().get::<Compressed>().is_some_and(Compressed::was);
        let request = request.into_inner();
        echoed(request.response_status)?;
        if request.expect_compressed.is_some_and(|expected| expected.value && !was_compressed) {
            return Err(Status::invalid_argument("the message is not compressed"));
        }
        let payload = Some(payload(request.response_size)?);
        let mut response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
        if request.response_compressed.is_none_or(|wanted| !wanted.value) {
            response.disable_compression();
        }
        Ok(response)
    }

    type StreamingOutputCallStream = Answers;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(Box::pin(answers(request.into_inner()))))
    }

    async fn streaming_input_call(
        &self,
        requests: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let mut requests = requests.into_inner();
        let mut bytes = 0;
        while let Some(request) = requests.message().await? {
            bytes += request.payload.map_or(0, |payload| payload.body.len());
        }
        let bytes = i32::try_from(bytes).map_err(|_| Status::out_of_range("too many bytes"))?;
        Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size: bytes }))
    }

    type FullDuplexCallStream = Answers;

    async fn full_duplex_call(
        &self,
        requests: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let answers = requests.into_inner().map_ok(answers).try_flatten();
        Ok(Response::new(Box::pin(answers)))
    }

    type HalfDuplexCallStream = Answers;

    async fn half_duplex_call(
        &self,
        requests: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let requests: Vec<_> = requests.into_inner().try_collect().await?;
        Ok(Response::new(Box::pin(stream::iter(requests).flat_map(answers))))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("no server implements this method"))
    }
}

/// One answer for each of the parameters; the status that was asked for, where one was.
fn answers(
    request: StreamingOutputCallRequest,
) -> impl Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send {
    let status = echoed(request.response_status).err();
    let parameters = if status.is_some() { Vec::new() } else { request.response_parameters };
    let answers = stream::iter(parameters).then(async |wanted: ResponseParameters| {
        let pause = Duration::from_micros(wanted.interval_us.try_into().unwrap_or(0));
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(StreamingOutputCallResponse { payload: Some(payload(wanted.size)?) })
    });
    answers.chain(stream::iter(status.map(Err)))
}

fn payload(size: i32) -> Result<Payload, Status> {
    match usize::try_from(size) {
        Ok(bytes) if bytes <= PAYLOAD_BYTES_MAX => {
            Ok(Payload { body: vec![0; bytes], ..Payload::default() })
        }
        _ => Err(Status::invalid_argument(format!("no payload has {size} bytes"))),
    }
}

fn echoed(status: Option<EchoStatus>) -> Result<(), Status> {
    match status {
        Some(EchoStatus { code, message }) if code != 0 => Err(Status::new(code.into(), message)),
        _ => Ok(()),
    }
}
