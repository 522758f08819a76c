//! What the builders and the handles of all policies have.

/// The setters of [`Options`], for a builder with a field `options`.
macro_rules! option_setters {
    () => {
        /// Sets the name, which is in rejections and events. The default is the kind of policy
        /// and its call site.
        pub fn name(mut self, name: impl Into<crate::config::Name>) -> Self {
            self.options.name = name.into();
            self
        }

        /// Sets the mode that the policy starts in. The default is
        /// [`Mode::Enforce`](crate::Mode::Enforce).
        pub fn mode(mut self, mode: crate::Mode) -> Self {
            self.options.mode = mode;
            self
        }

        /// Adds a listener, which stays for as long as the policy lives.
        pub fn on_event(
            self,
            listener: impl Fn(&crate::Event<'_>) + Send + Sync + 'static,
        ) -> Self {
            self.options.listen(listener);
            self
        }
    };
}
pub(crate) use option_setters;

/// The methods that every handle has, for a handle with `fn common(&self) -> &Common`.
///
/// `common_methods!(with mode)` adds the getter and the setter of the mode. A policy that keeps
/// its mode elsewhere has its own.
macro_rules! common_methods {
    () => {
        /// The policy's name.
        pub fn name(&self) -> &crate::config::Name {
            self.common().name()
        }

        /// Adds a listener, which is removed when the returned subscription is dropped.
        pub fn on_event(
            &self,
            listener: impl Fn(&crate::Event<'_>) + Send + Sync + 'static,
        ) -> crate::event::Subscription {
            self.common().subscribe(listener)
        }
    };
    (with mode) => {
        crate::common::common_methods!();

        /// The current mode.
        pub fn mode(&self) -> crate::Mode {
            self.common().mode()
        }

        /// Changes the mode while calls run. A call that is under way keeps the mode it started
        /// with.
        pub fn set_mode(&self, mode: crate::Mode) {
            self.common().set_mode(mode);
        }
    };
}
pub(crate) use common_methods;

/// A policy with your own classifier for its [`run`](crate::CircuitBreaker::run); made by
/// `classify` of a circuit breaker, retry or hedge. It is the same policy, and has all its other
/// methods.
#[derive(Clone, Debug)]
pub struct Classified<P, C> {
    pub(crate) policy: P,
    pub(crate) classifier: C,
}

impl<P, C> std::ops::Deref for Classified<P, C> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.policy
    }
}

/// `classify` of a handle with `run` and `run_with`, whose closure is `$call`.
macro_rules! classify_method {
    ($policy:ty, $call:ident($($number:ty)?)) => {
        impl $policy {
            /// This policy with a [`Classify`](crate::Classify) of your own for its `run`.
            pub fn classify<C>(&self, classifier: C) -> crate::Classified<Self, C> {
                crate::Classified {
                    policy: self.clone(),
                    classifier,
                }
            }
        }

        impl<C> crate::Classified<$policy, C> {
            /// `run` of the policy, whose outcomes are judged by the classifier.
            ///
            /// # Errors
            /// Those of `run` of the policy.
            pub async fn run<T, E, F, Fut, Via, Seen>(&self, call: F) -> Result<T, crate::Error<E>>
            where
                F: $call($($number)?) -> Fut,
                Fut: std::future::Future<Output = Result<T, E>>,
                E: crate::rejection::Fault<Via>,
                C: crate::Classify<T, E, Seen> + Clone,
            {
                self.policy.run_with(self.classifier.clone(), call).await
            }
        }
    };
}
pub(crate) use classify_method;
