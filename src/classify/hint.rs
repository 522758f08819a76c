//! In debug builds, a hint at errors of a client that no feature in force knows.

use std::error::Error as StdError;

use crate::rejection::chain;
use crate::sync::OnceLock;

/// The error types of clients, and the feature that knows each.
const CLIENTS: [(&str, &str); 4] = [
    ("reqwest::error::Error", "`reqwest` (for reqwest 0.13)"),
    ("tonic::status::Status", "`tonic` (for tonic 0.14)"),
    ("hyper::error::Error", "`hyper` (for hyper 1)"),
    (
        "hyper_util::client::legacy::client::Error",
        "`hyper` (for hyper 1)",
    ),
];

/// An error of the type `E` counts as a failure because nothing is known of it. Says so once, if a
/// feature would know it.
#[cold]
pub(super) fn unknown<E: ?Sized>(error: &(dyn StdError + 'static)) {
    static HINTED: OnceLock<()> = OnceLock::new();
    let Some(text) = text(std::any::type_name::<E>()) else {
        return;
    };
    if chain(error).any(is_known) || HINTED.set(()).is_err() {
        return;
    }
    #[cfg(feature = "tracing")]
    if tracing::enabled!(target: "seawall", tracing::Level::WARN) {
        return tracing::warn!(target: "seawall", "{text}");
    }
    eprintln!("seawall: {text}");
}

fn text(name: &str) -> Option<String> {
    let is_part = |client: &str| name.split(['<', '>', ',', ' ']).any(|part| part == client);
    let (client, feature) = CLIENTS.into_iter().find(|(client, _)| is_part(client))?;
    Some(format!(
        "errors of `{client}` are not known, so each is a failure, one with status 404 too: enable the \
         feature {feature} of seawall, or judge them by `seawall::classify::ErrorsBy`"
    ))
}

/// Whether the type is that of a feature in force. Then nothing more can be said of it.
fn is_known(link: &(dyn StdError + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if link.is::<reqwest::Error>() {
        return true;
    }
    #[cfg(feature = "tonic")]
    if link.is::<tonic::Status>() {
        return true;
    }
    #[cfg(feature = "hyper")]
    if link.is::<hyper::Error>() || link.is::<hyper_util::client::legacy::Error>() {
        return true;
    }
    let _ = link;
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rn4_an_error_of_a_client_that_is_not_known_names_the_feature() {
        let has = |name, feature: &str| text(name).is_some_and(|text| text.contains(feature));
        assert!(has("reqwest::error::Error", "feature `reqwest`"));
        let nested = "seawall::rejection::error::Error<tonic::status::Status>";
        assert!(has(nested, "feature `tonic`"));
        assert!(has("hyper::error::Error", "feature `hyper`"));
        for other in ["my_reqwest::error::Error", "std::io::error::Error", "u32"] {
            assert_eq!(text(other), None);
        }
    }

    // The names are those of the types.
    #[cfg(all(feature = "reqwest", feature = "tonic"))]
    #[test]
    fn rn4_the_errors_of_the_clients_have_these_names() {
        use std::any::type_name;
        let names = [
            type_name::<reqwest::Error>(),
            type_name::<tonic::Status>(),
            type_name::<hyper::Error>(),
            type_name::<hyper_util::client::legacy::Error>(),
        ];
        assert_eq!(CLIENTS.map(|(client, _)| client), names);
        assert!(is_known(&tonic::Status::internal("")));
    }
}
