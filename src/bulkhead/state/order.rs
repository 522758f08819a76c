/// Which waiter is admitted next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// The oldest.
    #[default]
    Fifo,
    /// The newest: under overload it is the one whose caller still wants the answer.
    Lifo,
}

crate::macros::serialize_label!(Order);

impl Order {
    /// A short text that never changes: `fifo`, `lifo`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Lifo => "lifo",
        }
    }
}
