//! The methods that there are, told from whatever else a path may say: what is labelled by method
//! cannot be made to grow by a client. It pays with one look into a table.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

/// The services of this server, as reflection tells them.
const DESCRIPTORS: &[&[u8]] = &[
    include_bytes!(concat!(env!("OUT_DIR"), "/services.bin")),
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// One method, or all that are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Its place among [`all`].
    pub(super) index: usize,
    pub(super) service: String,
    pub(super) name: String,
    /// Who sends many messages: the client, the server, both or neither.
    pub(super) kind: &'static str,
}

struct Methods {
    all: Vec<Method>,
    /// By path, without its first slash.
    places: HashMap<String, usize>,
}

static METHODS: LazyLock<Methods> = LazyLock::new(Methods::read);

/// The method at this path.
pub(super) fn at(path: &str) -> &'static Method {
    let place = path.strip_prefix('/').and_then(|path| METHODS.places.get(path));
    &METHODS.all[place.copied().unwrap_or_default()]
}

/// All of them; first, that of the paths that name none.
pub(super) fn all() -> &'static [Method] {
    &METHODS.all
}

impl Methods {
    fn read() -> Self {
        let none = ["unknown", "unknown"].map(str::to_owned);
        let mut methods = Self { all: Vec::new(), places: HashMap::new() };
        methods.add(none, "unknown");
        for &bytes in DESCRIPTORS {
            let files = FileDescriptorSet::decode(bytes).expect("the build wrote it");
            for file in &files.file {
                file.service.iter().for_each(|service| methods.add_all(file, service));
            }
        }
        methods
    }

    fn add_all(&mut self, file: &FileDescriptorProto, service: &ServiceDescriptorProto) {
        for method in &service.method {
            let kind = match (method.client_streaming(), method.server_streaming()) {
                (false, false) => "unary",
                (false, true) => "server_stream",
                (true, false) => "client_stream",
                (true, true) => "bidi_stream",
            };
            let service = format!("{}.{}", file.package(), service.name());
            self.add([service, method.name().to_owned()], kind);
        }
    }

    fn add(&mut self, [service, name]: [String; 2], kind: &'static str) {
        let index = self.all.len();
        self.places.insert(format!("{service}/{name}"), index);
        self.all.push(Method { index, service, name, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_method_or_none() {
        let named = |path: &str| (at(path).service.as_str(), at(path).name.as_str(), at(path).kind);
        assert_eq!(named("/quintet.v1.Quintet/Call"), ("quintet.v1.Quintet", "Call", "unary"));
        assert_eq!(named("/quintet.v1.Quintet/Converse").2, "bidi_stream");
        assert_eq!(named("/helloworld.Greeter/SayHelloStreamReply").2, "server_stream");
        for none in ["", "/", "/quintet.v1.Quintet/", "/quintet.v1.Quintet/Call/", "/a.B/C"] {
            assert_eq!(named(none), ("unknown", "unknown", "unknown"), "{none}");
            assert_eq!(at(none).index, 0);
        }
        assert!(all().iter().enumerate().all(|(index, method)| method.index == index));
    }
}
