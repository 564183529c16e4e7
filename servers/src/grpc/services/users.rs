//! Who is who, over gRPC: the same handler as the work kind `get_user`, and counted with it. It pays
//! with a message that is decoded once more: the handler speaks in bytes, as the framed servers do.

use common::message::{UserRequest, UserResponse, Work};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::awaiting::Player;
use crate::grpc::errors::Failure;
use crate::grpc::generated::users_server;

/// Looks users up.
pub(in crate::grpc) struct Users {
    pub(in crate::grpc) player: Player,
}

#[tonic::async_trait]
impl users_server::Users for Users {
    async fn get_user(
        &self,
        request: Request<UserRequest>,
    ) -> Result<Response<UserResponse>, Status> {
        let work = Some(Work::GetUser(request.into_inner().user_id));
        let response = self.player.play(common::Request { id: 0, timeout_ms: 0, work }).await;
        if response.code != common::Code::Ok as u32 {
            return Err(Failure::answered(response, "user_id").into());
        }
        let user = UserResponse::decode(response.payload.as_slice());
        user.map(Response::new).map_err(|_| Status::internal("the user's record is damaged"))
    }
}
