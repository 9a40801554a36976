/// A STUN or TURN server: `RTCIceServer` (W3C, WebRTC, section 4.2.4), in a browser and natively.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IceServer {
    /// Where it is, like `stun:stun.example.org` or `turn:turn.example.org:3478?transport=tcp`. Browsers speak TLS to it as
    /// well: `turns:turn.example.org:443`.
    pub urls: Vec<String>,
    /// Of TURN.
    pub username: String,
    /// Of TURN: the password.
    pub credential: String,
}

impl IceServer {
    /// A server that asks for no name and password.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], ..Self::default() }
    }

    /// The same, with a name and a password: as TURN servers ask for them.
    #[must_use]
    pub fn with_credentials(
        mut self,
        username: impl Into<String>,
        credential: impl Into<String>,
    ) -> Self {
        (self.username, self.credential) = (username.into(), credential.into());
        self
    }
}

/// Without the password.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
