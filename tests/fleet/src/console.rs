//! What a page of the hub sees, and what a partner tells it: plain requests with a token.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use gatehouse_common::{id::DocumentId, time::UtcMs};
use reqwest::{Certificate, Client, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::hub::{HubPlace, TOKEN};

/// An open console.
pub struct Console {
    client: Client,
    url: String,
}

/// What has changed, as it is told.
pub struct Live(Response);

impl Console {
    /// Of this hub.
    pub fn of(hub: &HubPlace) -> anyhow::Result<Self> {
        let authority = Certificate::from_pem(hub.authority.pem().as_bytes())?;
        let client = Client::builder().no_proxy().tls_certs_only([authority]).build()?;
        Ok(Self { client, url: format!("https://{}", SocketAddr::new(hub.host, hub.people)) })
    }

    /// Tells of dock work at a depot, in the `n`-th slot from now on: news for its gateway.
    pub async fn tells(&self, site: &str, n: i64, now: UtcMs) -> anyhow::Result<()> {
        let (start, end) = (now.plus(n * 60_000), now.plus((n + 1) * 60_000));
        let event = json!({
            "specversion": "1.0", "id": format!("{site}-{n}-{}", now.0), "source": "/wms/bench",
            "type": "io.gatehouse.wms.labour.v1", "time": now.to_string(),
            "data": { "site": site, "slot_start": start.to_string(), "slot_end": end.to_string(),
                      "required_minutes": 60, "rostered_minutes": 60 },
        });
        let request = self.client.post(format!("{}/v1/events", self.url)).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/cloudevents+json").body(event.to_string());
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the hub does not take an event: {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Listens to what changes.
    pub async fn live(&self) -> anyhow::Result<Live> {
        let answer = self.client.get(format!("{}/v1/live", self.url)).bearer_auth(TOKEN).send().await?;
        Ok(Live(answer.error_for_status()?))
    }

    /// How many entries a case shows; 0 while there is none.
    pub async fn entries(&self, case: &DocumentId) -> anyhow::Result<usize> {
        let answer = self.client.get(format!("{}/v1/cases/{case}", self.url)).bearer_auth(TOKEN).send().await?;
        if answer.status() == 404 {
            return Ok(0);
        }
        let shown: Value = answer.error_for_status()?.json().await?;
        Ok(shown["entries"].as_object().map_or(0, serde_json::Map::len))
    }

    /// Waits until a case shows more than `before` entries, as a page would: it reads again when it is told to.
    pub async fn until_shown(&self, live: &mut Live, case: &DocumentId, before: usize) -> anyhow::Result<()> {
        let longest = Instant::now() + Duration::from_secs(30);
        while self.entries(case).await? <= before {
            timeout_at(longest, live.next()).await.context("the console is told nothing")??;
        }
        Ok(())
    }
}

impl Live {
    /// Waits for the next event.
    async fn next(&mut self) -> anyhow::Result<()> {
        self.0.chunk().await?.context("the console's line ended")?;
        // What has gathered meanwhile is one look.
        while let Ok(Ok(Some(_))) = timeout(Duration::from_millis(1), self.0.chunk()).await {}
        Ok(())
    }
}
