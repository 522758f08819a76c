mod run;
#[cfg(feature = "tower")]
mod service;
