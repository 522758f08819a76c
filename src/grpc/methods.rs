//! Sets of gRPC methods.

use std::fmt;

use crate::sync::Arc;

/// The service of health checks, with its methods `Check` and `Watch`: for
/// [`GrpcServerStack::exempt`](super::GrpcServerStack::exempt).
pub const HEALTH: &str = "/grpc.health.v1.Health/";

/// A set of methods, each by its path `/package.Service/Method`, or all methods of a service by
/// `/package.Service/`. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Methods(Arc<[Box<str>]>);

impl Methods {
    /// This set and `more`. The slash in front may be left out.
    pub(super) fn and<M: Into<String>>(&self, more: impl IntoIterator<Item = M>) -> Self {
        let more = more.into_iter().map(|method| {
            let method: String = method.into();
            match method.starts_with('/') {
                true => method,
                false => format!("/{method}"),
            }
        });
        let mut all: Vec<Box<str>> = self.0.to_vec();
        all.extend(more.map(String::into_boxed_str));
        all.sort_unstable();
        Self(all.into())
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let has = |name: &str| self.0.binary_search_by(|of| (**of).cmp(name)).is_ok();
        let service = path.rfind('/').map(|slash| &path[..=slash]);
        has(path) || service.is_some_and(|service| service != "/" && has(service))
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{HEALTH, Methods};

    #[test]
    fn gr4_gr6_methods_are_named_one_by_one_or_by_service() {
        let none = Methods::default();
        assert!(!none.contains("/a.A/Get"));
        let some = none.and(["/a.A/Get", "b.B/List"]).and([HEALTH]);
        for path in [
            "/a.A/Get",
            "/b.B/List",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
        ] {
            assert!(some.contains(path), "{path}");
        }
        for path in [
            "/a.A/Put",
            "/a.A/",
            "/a.A/GetAll",
            "/x/a.A/Get",
            "/x/grpc.health.v1.Health/Check",
            "/",
            "",
            "*",
        ] {
            assert!(!some.contains(path), "{path}");
        }
    }
}
