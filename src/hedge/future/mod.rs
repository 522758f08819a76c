mod race;
#[cfg(feature = "tower")]
mod resent;
mod run;

#[cfg(feature = "tower")]
pub(super) use resent::Resent;
#[cfg(feature = "tower")]
pub use resent::ResponseFuture;

#[cfg(all(test, feature = "tower", feature = "test-util", not(seawall_loom)))]
mod tests;
