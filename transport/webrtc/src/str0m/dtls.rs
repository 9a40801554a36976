//! DTLS as str0m is given it: its configuration is shared, and what comes over it is looked at first.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, from_feature_flags};

use super::shared_filter::SharedFilter;
use crate::certificate::SharedDtls;
use crate::records::Records;

thread_local! {
    /// The filter of the connection that this thread made last: str0m makes DTLS itself, and gives
    /// no way to it.
    static FILTER: RefCell<Option<Arc<SharedFilter>>> = const { RefCell::new(None) };
}

/// The filter of the connection that this thread has just made; `None` if it has no DTLS yet.
pub(super) fn take_filter() -> Option<Arc<SharedFilter>> {
    FILTER.take()
}

impl SharedDtls {
    /// The crypto back-end, with DTLS as it is done here.
    pub(super) fn provider(&'static self) -> &'static Arc<CryptoProvider> {
        self.provider.get_or_init(|| {
            Arc::new(CryptoProvider { dtls_provider: self, ..from_feature_flags() })
        })
    }
}

impl DtlsProvider for SharedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = self.config().map_err(|error| CryptoError::Other(error.to_string()))?;
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, certificate.clone(), now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate.clone(), now),
            _ => dimpl::Dtls::new_auto(config, certificate.clone(), now),
        };
        let filter = Arc::new(SharedFilter::default());
        FILTER.set(Some(filter.clone()));
        Ok(Box::new(Instance { dtls, filter, records: Records::default() }))
    }
}

/// DTLS, what of its records reach it, and what of its plaintext reaches SCTP.
struct Instance {
    records: Records,
    dtls: dimpl::Dtls,
    filter: Arc<SharedFilter>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls").finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        // So the stack starts a client.
        if packet.is_empty() {
            return self.dtls.handle_packet(packet);
        }
        let mut rest = packet;
        while let Some((record, admitted)) = self.records.next(&mut rest) {
            if admitted {
                self.dtls.handle_packet(record)?;
            }
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.dtls.poll_output(buffer) {
            // What is empty, SCTP drops.
            DtlsOutput::ApplicationData(packet) if !self.filter.admit(packet) => {
                DtlsOutput::ApplicationData(&[])
            }
            DtlsOutput::Connected => {
                self.records.connected = true;
                DtlsOutput::Connected
            }
            output => output,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.filter.sent(data);
        match self.dtls.send_application_data(data) {
            // The peer hung up, which shows in the next output; nobody hears what is still said.
            Err(DtlsImplError::ConnectionClosed) => Ok(data.len()),
            result => result,
        }
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}
