#[cfg(feature = "tower")]
mod resend;
mod run;
#[cfg(feature = "tower")]
mod service;
