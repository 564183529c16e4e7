//! The services beside the contract's own: each in a file, each as a handler that awaits.

mod feed;
mod greeter;
mod health;
mod reflection;
mod uploads;
mod users;

pub(super) use self::feed::{Feed, FeedError};
pub(super) use self::greeter::Greeter;
pub(super) use self::health::{Health, HealthError};
pub(super) use self::reflection::{v1, v1alpha};
pub(super) use self::uploads::{UploadError, Uploads};
pub(super) use self::users::Users;
