//! What the server lets in.

use deltawire::Identity;
use deltawire::documents::{Ask, DeniedCode, Permission, Policy};
use deltawire::framing::Delta;
use deltawire::link::runtime::BoxFuture;

use super::{BOARD, Signed};

/// Lets everybody read and write the board, and nothing else; and operations, and no other deltas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules;

impl Policy for Rules {
    fn permit(&self, ask: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>> {
        let permitted = (ask.doc_id == BOARD).then(Permission::default);
        Box::pin(std::future::ready(permitted.ok_or(DeniedCode::NOT_PERMITTED)))
    }

    fn validate(&self, _: Option<&Identity>, delta: Delta<'_>) -> Result<(), DeniedCode> {
        let signed = Signed::read(delta.delta_type().get(), delta.payload());
        signed.map(drop).map_err(|_| DeniedCode::REJECTED)
    }
}
