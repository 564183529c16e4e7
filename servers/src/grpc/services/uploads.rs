//! Something large in pieces: each is hashed as it comes and then forgotten, so that an upload of
//! any length takes the room of one piece. It pays with a core for every large one, as `Compute`.

use common::message::{Chunk, Digest};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};

use crate::awaiting::{Player, Undone};
use crate::grpc::errors::{Failure, as_the_contract_says};
use crate::grpc::generated::uploads_server;

/// Up to this a piece is hashed where it arrives: some tens of microseconds, as long as handing it
/// to another thread and back takes. A larger one would keep a worker of the runtime, and with it
/// all who wait for their turn there.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Why there is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::grpc) enum UploadError {
    #[error("too many requests in flight; try later")]
    TooMany,
    #[error("the thread that did the work did not finish it")]
    Lost,
}

impl From<Undone> for UploadError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Overloaded => Self::TooMany,
            Undone::Lost => Self::Lost,
        }
    }
}

/// Hashes what is uploaded.
pub(in crate::grpc) struct Uploads {
    pub(in crate::grpc) player: Player,
}

impl Uploads {
    async fn hash(&self, mut hash: Sha256, data: Vec<u8>) -> Result<Sha256, UploadError> {
        let is_small = data.len() <= INLINE_BYTES_MAX;
        let update = move || {
            hash.update(&data);
            hash
        };
        if is_small {
            return Ok(update());
        }
        Ok(self.player.on_a_core(update).await?)
    }
}

#[tonic::async_trait]
impl uploads_server::Uploads for Uploads {
    async fn upload(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Digest>, Status> {
        let mut pieces = request.into_inner();
        let (mut hash, mut digest) = (Sha256::new(), Digest::default());
        // The next one is not asked for before this one is done: HTTP/2's flow control holds it
        // back.
        while let Some(Chunk { data }) = pieces.message().await.map_err(as_the_contract_says)? {
            digest.bytes += data.len() as u64;
            digest.chunks += 1;
            hash = self.hash(hash, data).await.map_err(Failure::from)?;
        }
        digest.sha256 = hash.finalize().to_vec();
        Ok(Response::new(digest))
    }
}
