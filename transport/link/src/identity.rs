use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who a peer is, as the one says who let it in: see [`Link::identity`](crate::Link::identity). Clones
/// share the claims.
///
/// ```
/// use std::time::Duration;
///
/// use deltawire_link::Identity;
///
/// struct Rights {
///     may_write: bool,
/// }
///
/// let alice = Identity::new("alice")
///     .with_claims(Rights { may_write: true })
///     .valid_for(Duration::from_secs(3_600));
/// assert!(alice.claims::<Rights>().is_some_and(|rights| rights.may_write));
/// ```
#[derive(Clone)]
pub struct Identity {
    subject: Arc<str>,
    claims: Option<Arc<dyn Any + Send + Sync>>,
    valid_for: Option<Duration>,
}

impl Identity {
    /// Of whom this names: the same text is the same user.
    #[must_use]
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self { subject: subject.into(), claims: None, valid_for: None }
    }

    /// The same with what else is known, in a type of the application's own.
    #[must_use]
    pub fn with_claims<C: Any + Send + Sync>(mut self, claims: C) -> Self {
        self.claims = Some(Arc::new(claims));
        self
    }

    /// The same for so long from when it is given: then its links are closed in order, and the peer is told
    /// why. A peer that does not end it in `Limits::close_timeout` is cut off; what comes until then is still handed
    /// on. Default: as long as they live.
    #[must_use]
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// Whom it names.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What else is known, if it is of this type.
    #[must_use]
    pub fn claims<C: Any + Send + Sync>(&self) -> Option<&C> {
        self.claims.as_ref().and_then(|claims| claims.downcast_ref())
    }

    /// For how long it is valid from when it was given; `None` is as long as the link lives.
    #[must_use]
    pub fn validity(&self) -> Option<Duration> {
        self.valid_for
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.subject)
            .field("valid_for", &self.valid_for)
            .finish_non_exhaustive()
    }
}
