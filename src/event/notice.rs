//! Messages about a mistake in the program: to `tracing`, or to standard error where nothing
//! subscribes to that.

use crate::config::Name;

#[cfg(feature = "serve")]
pub(crate) fn warn(policy: &Name, text: &str) {
    #[cfg(feature = "tracing")]
    if tracing::enabled!(target: "seawall", tracing::Level::WARN) {
        return tracing::warn!(target: "seawall", { resilience.policy = %policy }, "{text}");
    }
    eprintln!("seawall: {policy}: {text}");
}

pub(crate) fn error(policy: &Name, text: &str) {
    #[cfg(feature = "tracing")]
    if tracing::enabled!(target: "seawall", tracing::Level::ERROR) {
        return tracing::error!(target: "seawall", { resilience.policy = %policy }, "{text}");
    }
    eprintln!("seawall: {policy}: {text}");
}
