//! The names of gRPC's codes, as its specification spells them. They cost an index into a table.

use tonic::Code;

/// How many there are.
pub(super) const COUNT: usize = NAMES.len();

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn name(code: Code) -> &'static str {
    NAMES[code as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_name() {
        for (number, name) in (0..).zip(NAMES) {
            let code = Code::from_i32(number);
            assert_eq!(code as i32, number);
            let plain = |name: &str| name.replace('_', "").to_lowercase();
            assert_eq!(plain(&format!("{code:?}")), plain(name));
        }
        assert_eq!(Code::from_i32(17), Code::Unknown, "there are no more");
        assert_eq!(name(Code::Unauthenticated), "UNAUTHENTICATED");
    }
}
