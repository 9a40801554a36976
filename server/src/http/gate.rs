//! Who may do what: over HTTP, when links are opened, and on them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use deltawire_hub::{Action, Ask, DeniedCode, Permission, Policy};
use deltawire_link::Identity;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::{AuthorizationRequest, Authorizer, Denial, Token, Tokens};

use super::problem::{Problem, excerpt};
use crate::config::{Access, Config};

/// The subject of those that have no token: no token's name is empty.
const ANYBODY: &str = "";

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) access: Access,
    pub(crate) snapshots: bool,
    /// Whether documents may be deleted.
    pub(crate) delete: bool,
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    pub(crate) rights: Rights,
}

/// Lets in those that may; its tokens can be exchanged.
pub(crate) struct Gate {
    table: RwLock<Arc<Table>>,
    /// Where there are no tokens: lets in who administers.
    admin: Token,
    origins: Vec<HeaderValue>,
    /// Whether requests have to name this machine, so that no page can ask by a name of its own.
    only_loopback: bool,
}

struct Table {
    tokens: Tokens,
    rights: HashMap<String, Rights>,
}

impl Gate {
    pub(crate) fn new(config: &Config, admin: Token) -> Self {
        let origins = config.server.origins.iter();
        Self {
            table: RwLock::new(Arc::new(Table::new(config, &admin))),
            admin,
            origins: origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect(),
            only_loopback: config.is_private() && !config.server.allow_anonymous,
        }
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other tokens. Gives those that may not any longer what they might, or others things.
    pub(crate) fn exchange(&self, config: &Config) -> Vec<String> {
        let next = Arc::new(Table::new(config, &self.admin));
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *table, next.clone());
        drop(table);
        let changed =
            before.rights.iter().filter(|(name, had)| next.rights.get(*name) != Some(had));
        changed.map(|(name, _)| name.clone()).collect()
    }

    async fn who(&self, asks: AuthorizationRequest<'_>) -> Result<Who, Denial> {
        self.table().who(asks).await
    }
}

impl Table {
    fn new(config: &Config, admin: &Token) -> Self {
        let tokens = &config.server.tokens;
        if tokens.is_empty() {
            let private = config.is_private();
            let anybody = Rights { access: Access::Write, snapshots: private, delete: private };
            let administrator = Rights { access: Access::Admin, snapshots: true, delete: true };
            let name = "administrator";
            return Self {
                tokens: Tokens::new([(admin.clone(), Identity::new(name))]),
                rights: HashMap::from([
                    (ANYBODY.to_owned(), anybody),
                    (name.to_owned(), administrator),
                ]),
            };
        }
        let identities =
            tokens.iter().map(|it| (it.token.clone(), Identity::new(it.name.as_str())));
        let rights = tokens.iter().map(|it| {
            let (access, snapshots) = (it.access, it.snapshots);
            (it.name.clone(), Rights { access, snapshots, delete: access >= Access::Admin })
        });
        Self { tokens: Tokens::new(identities), rights: rights.collect() }
    }

    async fn who(&self, asks: AuthorizationRequest<'_>) -> Result<Who, Denial> {
        if let Some(rights) = self.rights.get(ANYBODY)
            && !asks.headers.contains_key(AUTHORIZATION)
        {
            return Ok(Who { identity: Identity::new(ANYBODY), rights: *rights });
        }
        let identity = self.tokens.authorize(asks).await?;
        let rights = self.rights.get(identity.subject()).copied().ok_or(Denial::WrongToken)?;
        Ok(Who { identity, rights })
    }
}

/// Links: who may read may open one.
impl Authorizer for Gate {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        let table = self.table();
        Box::pin(async move { table.who(request).await.map(|who| who.identity) })
    }
}

/// What is done on links: by the tokens that there are now.
impl Policy for Gate {
    fn permit(&self, ask: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>> {
        let subject = ask.identity.as_ref().map_or(ANYBODY, |identity| identity.subject());
        let rights = self.table().rights.get(subject).copied();
        let answer = match (rights, ask.action) {
            (None, _) => Err(DeniedCode::NOT_PERMITTED),
            (Some(rights), Action::Write) if rights.access < Access::Write => {
                Err(DeniedCode::NOT_PERMITTED)
            }
            (Some(rights), _) => Ok(Permission { valid_for: None, snapshots: rights.snapshots }),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("known", &self.table().rights.len()).finish_non_exhaustive()
    }
}

/// Lets a request in, and notes who sent it.
pub(crate) async fn guard(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(origin) = request.headers().get(ORIGIN)
        && !is_same(origin, request.headers().get(HOST))
        && !gate.origins.contains(origin)
    {
        let origin = excerpt(origin.to_str().unwrap_or_default());
        let detail = format!("pages of {origin} may not ask: server.origins says which may");
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin", detail);
        return problem.of("Origin", origin, "server.origins").into_response();
    }
    let from = request.extensions().get::<axum::extract::ConnectInfo<SocketAddr>>();
    let from = from.map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |from| from.0);
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    match gate.who(AuthorizationRequest::new(from, method, path, headers)).await {
        Ok(who) => drop(request.extensions_mut().insert(who)),
        Err(denial) => {
            tracing::debug!(%from, path = request.uri().path(), ?denial, "refused");
            return Problem::denied(denial).into_response();
        }
    }
    next.run(request).await
}

/// Refuses requests that name another machine where everybody that reaches this one may do everything: a page
/// whose name was made to point here would be let in otherwise.
pub(crate) async fn only_this_machine(
    State(gate): State<Arc<Gate>>,
    request: Request,
    next: Next,
) -> Response {
    if gate.only_loopback
        && gate.table().rights.contains_key(ANYBODY)
        && request.method() != Method::OPTIONS
        && !names_this_machine(request.headers())
    {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = excerpt(host.unwrap_or_default());
        let detail = format!(
            "this server is for this machine only, and was asked as {host:?}: ask it as localhost, or give it \
             tokens, or say server.allow_anonymous = true"
        );
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", detail);
        return problem.of("Host", host, "localhost or an address of this machine").into_response();
    }
    next.run(request).await
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: IpAddr| address.is_loopback();
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

/// Whether a page comes from the host that it asks.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let of_page = origin.split_once("://").map_or("", |(_, host)| host);
    !host.is_empty() && of_page.eq_ignore_ascii_case(host)
}

/// Refuses who may not do as much.
pub(crate) fn require(who: &Who, access: Access) -> Result<(), Problem> {
    if who.rights.access >= access {
        return Ok(());
    }
    Err(forbidden(&format!("this needs a token with the access {:?}", name_of(access))))
}

pub(crate) fn forbidden(reason: &str) -> Problem {
    Problem::denied(Denial::Forbidden { reason: reason.to_owned() })
}

fn name_of(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Admin => "admin",
    }
}
