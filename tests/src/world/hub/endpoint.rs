//! The hub's endpoint, asked as over HTTP: who may speak is decided there, by certificate, list and signature.
//!
//! There are no sockets and no handshakes here: a certificate is what it says it is, as a listener would have found.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    handler::Handler,
    http::Request,
    routing::{MethodRouter, any_service},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::{DeviceId, Hash32},
    sync::exchange::{
        DEVICE_HEADER, NONCE_HEADER, PULL_PATH, PUSH_PATH, REPAIR_PATH, SIGNATURE_HEADER, STANDING_PATH, TIME_HEADER,
        request_text,
    },
    time::UtcMs,
};
use gatehouse_hub::{
    identity::{Peer, Watcher},
    listen::Caller,
    store::{AuditEntry, Certificate, Store, StoreError},
    sync::{Admission, News, Quota, Refusals, SyncState, router},
};

use super::{Hub, HubError, listed};
use crate::world::{Call, DAWN, clock::DAY, depot::Agent};

/// How long a certificate is good.
const CERTIFIED_MS: i64 = 30 * DAY;
/// More than any device of a pretend world asks in a minute: that is no matter here.
const QUOTA: Quota = Quota { requests_per_minute: 1_000_000, bytes_per_minute: 1 << 40 };

/// What a device is answered.
#[derive(Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The frame, or why there is none.
    pub body: Vec<u8>,
}

impl Hub {
    /// Gives a device that is listed a certificate.
    /// # Errors
    /// [`StoreError`].
    pub fn certifies(&self, agent: &Agent) -> Result<(), StoreError> {
        let running = self.running.as_ref().ok_or(StoreError::Stopped)?;
        let Peer { serial, device, line_key, from, until } = peer(agent);
        let issued =
            Certificate { serial, device: device.device, line_key, from, until, pem: String::new(), superseded: None };
        running.store.write_now(move |tx| tx.put_certificate(&issued))
    }

    /// Revokes a device, as `gatehouse-hub device revoke` does. Returns whether it might speak before.
    /// # Errors
    /// [`StoreError`].
    pub fn revokes(&self, device: &DeviceId) -> Result<bool, StoreError> {
        let running = self.running.as_ref().ok_or(StoreError::Stopped)?;
        let (device, now, why) = (device.clone(), self.clock.wall(), "it was stolen");
        let entry = AuditEntry {
            at: now,
            actor: "admin".to_owned(),
            action: "device revoked".to_owned(),
            subject: device.to_string(),
            detail: why.to_owned(),
        };
        running.store.write_now(move |tx| {
            let might_speak = tx.revoke_device(&device, why, now)?;
            if might_speak {
                tx.audit(&entry)?;
            }
            Ok(might_speak)
        })
    }

    /// Answers a request that the device signs under `nonce` as of `time`, over a line with its certificate.
    /// # Errors
    /// [`HubError`]: there is no answer at all.
    pub(in crate::world) fn is_asked(
        &self,
        agent: &Agent,
        call: Call,
        (nonce, time): (&str, UtcMs),
        frame: &[u8],
    ) -> Result<Answered, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        if call == Call::Repair {
            // What was pushed a moment ago is folded by then in life.
            running.store.fold_now()?;
        }
        let path = path_of(call);
        let text = request_text(path, &agent.device, time, nonce, frame);
        let request = Request::post(path)
            .header(DEVICE_HEADER, agent.device.as_str())
            .header(TIME_HEADER, time.0.to_string())
            .header(NONCE_HEADER, nonce)
            .header(SIGNATURE_HEADER, STANDARD.encode(agent.key().sign(text.as_bytes())))
            .extension(ConnectInfo(caller(agent)))
            .body(Body::from(frame.to_vec()))
            .expect("a request can be made");
        let endpoint = match running.endpoint.get() {
            Some(endpoint) => endpoint.clone(),
            None => {
                let made = self.endpoint(&running.store)?;
                running.endpoint.get_or_init(|| made).clone()
            }
        };
        self.runtime.block_on(async {
            let response = Handler::<(), ()>::call(endpoint, request, ()).await;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("an answer comes whole");
            Ok(Answered { status, body: body.to_vec() })
        })
    }

    /// The product's endpoint over this store.
    fn endpoint(&self, store: &Store) -> Result<MethodRouter, StoreError> {
        // Nobody looks for cuts in real time here: the world ends what waits.
        let (_, revocations) = Watcher::new(store.clone())?;
        let refusals = Refusals::new(store.clone(), self.clock.clone());
        let admission = Admission { without_certificate: false, quota: QUOTA, refusals, revocations };
        let news = News::new(store.clone());
        let state = SyncState::new(store.clone(), self.clock.clone(), self.key.clone(), admission, news);
        Ok(any_service(router(state)))
    }
}

fn path_of(call: Call) -> &'static str {
    match call {
        Call::Push => PUSH_PATH,
        Call::Pull => PULL_PATH,
        Call::Repair => REPAIR_PATH,
        Call::Stand => STANDING_PATH,
    }
}

fn caller(agent: &Agent) -> Caller {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Caller { address, peer: Some(Arc::new(peer(agent))), enrols: false }
}

/// What the device's certificate says.
fn peer(agent: &Agent) -> Peer {
    Peer {
        serial: format!("01-{}", agent.device),
        device: listed(agent),
        line_key: Hash32::of(agent.device.as_str().as_bytes()),
        from: DAWN,
        until: DAWN.plus(CERTIFIED_MS),
    }
}
