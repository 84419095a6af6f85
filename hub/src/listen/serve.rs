//! HTTP/1.1 on connections whose handshake is done.
//!
//! In: connections. Out: requests, each with who sent it. The handshake has settled that HTTP/1.1 is spoken, so nothing
//! looks for another version first: whoever looks reads the first bytes apart, and that doubles what a connection holds
//! for as long as it lives. Devices wait by the thousand.

use std::{future::Future, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tower_service::Service;
use tracing::debug;

use super::TlsListener;

/// Longest from the end of an answer, or of the handshake, to the end of the next request's head, in real time. Above the
/// 90 s for which devices keep a connection that they do not use: they should be those who close it.
const HEAD_MAX: Duration = Duration::from_secs(120);

/// Serves `router` on what `listener` gives, until `stop` ends; what is under way is answered before this returns.
pub async fn serve(mut listener: TlsListener, router: Router, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let connection = tokio::select! {
            taken = listener.accept() => taken,
            () = &mut stop => break,
        };
        let (caller, router) = (connection.caller.clone(), router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(caller.clone()));
            router.clone().call(request.map(Body::new))
        });
        let served = open.watch(http.serve_connection(TokioIo::new(connection), service));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                debug!(%error, "a connection ended: {error}");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}
